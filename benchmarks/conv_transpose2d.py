"""``conv_transpose2d``: the heaviest transposed convolution, over the same models as ``conv2d``."""

from ganbench.operations import convolutions

from .common import Timed, by_shape
from .conv2d import MODELS


class ConvTranspose2d(Timed):
    """Seconds per transposed convolution."""

    operations = by_shape(*map(convolutions.ConvTranspose2d.of, MODELS))

    def setup_cache(self) -> None:
        self.answer()
