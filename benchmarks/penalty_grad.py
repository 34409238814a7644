"""``penalty_grad``: the gradient of a gradient, at the shapes of the reference models."""

from ganbench.gan import preset

from .common import Timed, by_shape

SHAPES = by_shape("penalty_grad", [preset("mnist-wgan-gp"), preset("deep")])


class PenaltyGrad(Timed):
    """Seconds per gradient of the penalty for D's parameters."""

    operation = "penalty_grad"
    specs = SHAPES

    def setup_cache(self) -> None:
        self.answer()
