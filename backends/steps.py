"""An iteration as steps: those on D, then one on G with the updated D."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ganbench.array_ops import Array, GANState, NetworkState, Trained, steps_on_d
from ganbench.gan import GANSpec
from ganbench.layers import KINDS
from ganbench.losses import LOSSES


class Steps(ABC):
    """What trains by two steps, which are written for every loss and every kind of layer."""

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    layers: ClassVar[tuple[str, ...]] = KINDS

    @abstractmethod
    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        """Return G, whose running statistics move, D after its step, its loss and the penalty in it, if there is one.

        ``step`` counts from 1, here and below.
        """

    @abstractmethod
    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        """Return G after its step against the updated D, D, whose running statistics move, and G's loss."""

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        """As ``ArrayOps`` says."""
        g, d, taken = state.generator, state.discriminator, state.step * spec.critic_steps
        for one in steps_on_d(spec, real, z_d, u):
            taken = taken + 1
            g, d, *losses = self.step_on_discriminator(spec, g, d, *one, taken)
        g, d, g_loss = self.step_on_generator(spec, g, d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), losses[0], g_loss, *losses[1:]
