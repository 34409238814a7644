"""``matmul_grad``: both gradients of a product, over the same shapes as ``matmul``."""

from .common import Timed
from .matmul import SHAPES


class MatmulGrad(Timed):
    """Seconds per pair of gradients."""

    operation = "matmul_grad"
    specs = SHAPES

    def setup_cache(self) -> None:
        self.answer()
