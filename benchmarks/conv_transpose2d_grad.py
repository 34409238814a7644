"""``conv_transpose2d_grad``: both gradients of a transposed convolution, over the same models as ``conv2d``."""

from ganbench.operations import convolutions

from .common import Timed, by_shape
from .conv2d import MODELS


class ConvTranspose2dGrad(Timed):
    """Seconds per pair of gradients."""

    operations = by_shape(*map(convolutions.ConvTranspose2dGrad.of, MODELS))

    def setup_cache(self) -> None:
        self.answer()
