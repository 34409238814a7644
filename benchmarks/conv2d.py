"""``conv2d``: the heaviest convolution of DCGANs."""

from ganbench.gan import preset
from ganbench.operations import convolutions

from .common import FULL, Timed, by_shape

MODELS = [preset(name) for name in (("dcgan-28", "dcgan-32", "dcgan-64") if FULL else ("dcgan-28",))]


class Conv2d(Timed):
    """Seconds per convolution."""

    operations = by_shape(*map(convolutions.Conv2d.of, MODELS))

    def setup_cache(self) -> None:
        self.answer()
