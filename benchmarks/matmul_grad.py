"""``matmul_grad``: both gradients of a product, over the same shapes as ``matmul``."""

from ganbench.operations import layers

from .common import Timed, by_shape
from .matmul import SHAPES


class MatmulGrad(Timed):
    """Seconds per pair of gradients."""

    operations = by_shape(*(layers.MatmulGrad(*shape) for shape in SHAPES))

    def setup_cache(self) -> None:
        self.answer()
