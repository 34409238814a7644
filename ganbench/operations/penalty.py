"""The gradient penalty alone: what the second derivative costs in the Wasserstein loss."""

from typing import Any

from ..array_ops import ArrayOps
from ..gan import GANSpec, with_loss
from ..layers import parameters
from ..operation import Output
from .networks import DiscriminatorForward


class PenaltyGrad(DiscriminatorForward):
    """The penalty's gradient for D's parameters, at real images, which rotate over the staged batches.

    λ is that of the model; where its loss has none, the usual 10.
    """

    name = "penalty_grad"

    @property
    def loss(self) -> str:
        return "wgan-gp"

    @property
    def flops(self) -> int:
        return self.spec.penalty_flops

    @property
    def _critic(self) -> GANSpec:
        return with_loss(self.spec, self.loss)

    def outputs(self) -> list[Output]:
        return [Output(f"grad {name}", shape, "grads") for name, shape in parameters(self._layers)]

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.penalty_grad(self._critic, fixed[0], *batch)
