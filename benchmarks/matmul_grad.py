"""``matmul_grad``: both gradients of a product, over the same shapes as ``matmul``."""

from typing import Any

from .common import Suite, params, timed
from .matmul import SHAPES


class MatmulGrad(Suite):
    """Seconds per pair of gradients."""

    operation = "matmul_grad"
    specs = SHAPES
    params = params(SHAPES)

    def setup_cache(self) -> None:
        self.answer()

    @timed
    def track_call(self, shape: str, target: str, dtype: str) -> dict[str, Any]:
        return self.case.samples()
