"""``penalty_grad``: the gradient of a gradient, at the shapes of the reference models."""

from ganbench.gan import preset
from ganbench.operations import networks

from .common import Timed, by_shape


class PenaltyGrad(Timed):
    """Seconds per gradient of the penalty for D's parameters."""

    operations = by_shape(*(networks.PenaltyGrad(preset(name)) for name in ("mnist-wgan-gp", "deep")))

    def setup_cache(self) -> None:
        self.answer()
