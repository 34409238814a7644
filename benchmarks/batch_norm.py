"""``batch_norm`` of 128 rows over widths."""

from typing import Any

from ganbench.gan import GANSpec

from .common import FULL, Suite, by_shape, params, timed

WIDTHS = (64, 256, 1024, 4096) if FULL else (256, 1024)
SPECS = [GANSpec(generator=(1, n, 1), discriminator=(1, 1), batch=128) for n in WIDTHS]
SHAPES = by_shape("batch_norm", SPECS)


class BatchNorm(Suite):
    """Seconds per normalisation with its statistics."""

    operation = "batch_norm"
    specs = SHAPES
    params = params(SHAPES)

    def setup_cache(self) -> None:
        self.answer()

    @timed
    def track_call(self, shape: str, target: str, dtype: str) -> dict[str, Any]:
        return self.case.samples()
