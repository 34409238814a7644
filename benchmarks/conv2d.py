"""``conv2d``: the heaviest convolution of DCGANs."""

from ganbench.gan import preset
from ganbench.operations import convolutions

from .common import DTYPES, FULL, Timed, by_shape

MODELS = [preset(name) for name in (("dcgan-28", "dcgan-32", "dcgan-64") if FULL else ("dcgan-28",))]
OWN_DTYPES = DTYPES if FULL else DTYPES[:1]


class Conv2d(Timed):
    """Seconds per convolution."""

    operations = by_shape(*map(convolutions.Conv2d.of, MODELS))
    dtypes = OWN_DTYPES

    def setup_cache(self) -> None:
        self.answer()
