"""Operations of whole networks: Adam, both forward passes, and the training iteration made of them."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from ..array_ops import Adam, AdamSettings, Array, ArrayOps, GANState, NetworkState
from ..gan import LAST, STAGED_BATCHES, GANSpec, with_loss
from ..layers import Dense, Layer, cast_weights, initial_params, n_params, parameters, running
from ..operation import Inputs, ModelOperation, Operation, Output, Shape, outputs_of
from ..precision import accumulation_dtype
from .fresh import turns
from .rounding import to_host


class AdamState(NamedTuple):
    """What ``adam_step`` carries on; ``step`` counts completed steps."""

    params: list[Array]
    m: list[Array]
    v: list[Array]
    step: Any


@dataclass(frozen=True)
class AdamStep(Operation):
    """One Adam step on all parameters of ``layers``; of a model, on those of its generator."""

    layers: tuple[Layer, ...]
    adam: AdamSettings = field(default_factory=Adam)
    name = "adam_step"
    stateful = True

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        return cls(spec.generator_layers, spec)

    @classmethod
    def sized(cls, sizes: Sequence[int]) -> Self:
        (count,) = sizes
        # Biases alone: the work depends on their number.
        return cls((Dense(n_in=0, n_out=count, activation="identity", batch_norm=False),))

    @property
    def shape(self) -> Shape:
        return Shape(parameters=self._count)

    @property
    def _count(self) -> int:
        return n_params(self.layers)

    @property
    def flops(self) -> int:
        return 12 * self._count  # m 3, v 4, root, ε, quotient, lr, difference

    @property
    def _values_read(self) -> int:
        return 4 * self._count

    @property
    def _kept_read(self) -> int:
        return 3 * self._count

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        params = initial_params(rng, self.layers, accumulation_dtype(dtype))
        zeros = [np.zeros_like(p) for p in params]
        drawn = [to_host(1e-2 * rng.standard_normal(p.shape), dtype) for p in params]
        grads = turns(rng, drawn, self._count)
        return Inputs((), AdamState(params, zeros, zeros, np.int32(0)), [(one,) for one in grads])

    def outputs(self) -> list[Output]:
        return _adam_outputs("", self.layers)

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        step = state.step + 1
        params, m, v = backend.adam_step(self.adam, state.params, batch[0], state.m, state.v, step)
        return AdamState(params, m, v, step), ()

    def collect(self, state: Any, results: Any) -> list[Array]:
        return [*state.params, *state.m, *state.v]


class _Forward(ModelOperation):
    """One pass through the network ``role``; parameters and input rotate over the staged batches."""

    role: ClassVar[str]

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.spec.kinds

    @property
    def _layers(self) -> tuple[Layer, ...]:
        layers: tuple[Layer, ...] = getattr(self.spec, f"{self.role}_layers")
        return layers

    @property
    def shape(self) -> Shape:
        return Shape(batch=self.spec.batch, **{self.role: self.spec.sizes(self.role)})

    @property
    def flops(self) -> int:
        return sum(layer.flops(self.spec.batch) for layer in self._layers)

    @property
    def _values_read(self) -> int:
        return n_params(self._layers) + self.spec.batch * math.prod(self._layers[0].in_shape)

    @property
    def _kept_read(self) -> int:
        return sum(2 * layer.channels for layer in self._layers if layer.batch_norm)  # gamma and beta

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        drawn = initial_params(rng, self._layers, accumulation_dtype(dtype), self.spec.init)
        params = cast_weights(self._layers, drawn, lambda p: to_host(p, dtype))
        networks = turns(rng, params, n_params(self._layers))
        return Inputs((), None, list(zip(networks, self._batches(rng, dtype, images), strict=True)))

    @abstractmethod
    def _batches(self, rng: np.random.Generator, dtype: str, images: np.ndarray) -> Sequence[np.ndarray]:
        """Return what goes into the network, one array for each staged batch."""


class GeneratorForward(_Forward):
    """Images from noise."""

    name = "generator_forward"
    role = "generator"

    def _batches(self, rng: np.random.Generator, dtype: str, images: np.ndarray) -> Sequence[np.ndarray]:
        return [_noise(rng, self.spec, dtype) for _ in range(STAGED_BATCHES)]

    def outputs(self) -> list[Output]:
        return outputs_of({"images": (self.spec.batch, self.spec.img_dim)})

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.generator_forward(self.spec, *batch),)


class DiscriminatorForward(_Forward):
    """Logits of real images."""

    name = "discriminator_forward"
    role = "discriminator"
    images_at = 1

    def _batches(self, rng: np.random.Generator, dtype: str, images: np.ndarray) -> Sequence[np.ndarray]:
        return _staged(images, self.spec, dtype)

    def outputs(self) -> list[Output]:
        return outputs_of({"logits": (self.spec.batch, 1)})

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.discriminator_forward(self.spec, *batch),)


class PenaltyGrad(DiscriminatorForward):
    """The penalty's gradient for D's parameters, at real images: what the second derivative costs.

    λ is that of the model; where its loss has none, the usual 10.
    """

    name = "penalty_grad"

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        with_loss(spec, "wgan-gp")  # raises where D has batch norm
        return super().of(spec)

    @property
    def loss(self) -> str:
        return "wgan-gp"

    @property
    def flops(self) -> int:
        return self.spec.penalty_flops

    def outputs(self) -> list[Output]:
        return [Output(f"grad {name}", shape, "grads") for name, shape in parameters(self._layers)]

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.penalty_grad(with_loss(self.spec, self.loss), *batch)


class GANIteration(ModelOperation):
    """One whole training iteration: one step on D, or several, then a step on G with the updated D."""

    name = "gan_iteration"
    stateful = True
    images_at = 0

    @property
    def loss(self) -> str:
        return self.spec.loss

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.spec.kinds

    @property
    def shape(self) -> Shape:
        return iteration_shape(self.spec)

    @property
    def flops(self) -> int:
        return self.spec.iteration_flops

    @property
    def usual_flops(self) -> int:
        return self.spec.usual_flops

    @property
    def _values_read(self) -> int:
        spec = self.spec
        of_a_step = spec.img_dim + spec.z_dim + spec.objective.penalised  # real images, noise and, for a penalty, ``u``
        return self._kept_read + spec.batch * (spec.critic_steps * of_a_step + spec.z_dim)

    @property
    def _kept_read(self) -> int:
        layers = (*self.spec.generator_layers, *self.spec.discriminator_layers)
        running = sum(2 * layer.channels for layer in layers if layer.batch_norm)
        return 3 * self.spec.n_params + running

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        state = initial_state(rng, self.spec, accumulation_dtype(dtype))
        staged = _staged(images, self.spec, dtype)
        return Inputs((), state, [self._batch(rng, dtype, staged, turn) for turn in range(STAGED_BATCHES)])

    def _batch(
        self, rng: np.random.Generator, dtype: str, staged: Sequence[np.ndarray], turn: int
    ) -> tuple[np.ndarray, ...]:
        """Return real, z_d, z_g and, for a penalty, u: the steps on D go on through the staged images in turn."""
        spec, steps = self.spec, self.spec.critic_steps
        if not spec.stacked:
            return staged[turn], _noise(rng, spec, dtype), _noise(rng, spec, dtype)
        real = np.stack([staged[(turn * steps + step) % len(staged)] for step in range(steps)])
        z_d = to_host(rng.standard_normal((steps, spec.batch, spec.z_dim)), dtype)
        batch = real, z_d, _noise(rng, spec, dtype)
        return (*batch, to_host(rng.uniform(size=(steps, spec.batch, 1)), dtype)) if spec.objective.penalised else batch

    def outputs(self) -> list[Output]:
        named, spec = list[Output](), self.spec
        for role, layers in (("generator", spec.generator_layers), ("discriminator", spec.discriminator_layers)):
            named += _adam_outputs(f"{role} ", layers)
            named += [
                Output(f"{role} {name}", shape, f"{role} running {name.rstrip('0123456789')}", kept=True)
                for name, shape in running(layers)
            ]
        reported = spec.reported
        return [*named, *outputs_of(dict.fromkeys(reported, ()), kept=reported)]

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        iterate = backend.gan_iteration
        if self.spec.stacked:  # plug-ins that were written for interface 1 have a method of its own for a penalty
            iterate = getattr(backend, "wasserstein_iteration", iterate)
        state, *losses = iterate(self.spec, state, *batch)
        return state, losses

    def collect(self, state: Any, results: Any) -> list[Array]:
        networks = (state.generator, state.discriminator)
        return [array for net in networks for part in net for array in part] + list(results)


def iteration_shape(spec: GANSpec) -> Shape:
    """Return the sizes that say what an iteration costs; ``critic_steps`` only where there may be several."""
    steps = {"critic_steps": spec.critic_steps} if spec.stacked else {}
    return Shape(**steps, batch=spec.batch, **{role: spec.sizes(role) for role in LAST})


def initial_state(rng: np.random.Generator, spec: GANSpec, dtype: str) -> GANState:
    """Return a model before its first iteration: moments 0, running mean 0 and variance 1."""
    networks = []
    for layers in (spec.generator_layers, spec.discriminator_layers):
        params = initial_params(rng, layers, dtype, spec.init)
        zeros = [np.zeros_like(p) for p in params]
        running = [make(layer.channels, dtype) for layer in layers if layer.batch_norm for make in (np.zeros, np.ones)]
        networks.append(NetworkState(params, zeros, zeros, running))
    return GANState(networks[0], networks[1], np.int32(0))


def _adam_outputs(prefix: str, layers: Sequence[Layer]) -> list[Output]:
    return [
        Output(f"{prefix}{part} {name}", shape, f"{prefix}{part}", kept=True)
        for part in ("params", "m", "v")
        for name, shape in parameters(layers)
    ]


def _noise(rng: np.random.Generator, spec: GANSpec, dtype: str) -> np.ndarray:
    return to_host(rng.standard_normal((spec.batch, spec.z_dim)), dtype)


def _staged(images: np.ndarray, spec: GANSpec, dtype: str) -> list[np.ndarray]:
    return list(to_host(images, dtype).reshape(STAGED_BATCHES, spec.batch, spec.img_dim))
