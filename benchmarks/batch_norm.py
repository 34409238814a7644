"""``batch_norm`` of 128 rows over widths."""

from ganbench.gan import GANSpec

from .common import FULL, Timed, by_shape

WIDTHS = (64, 256, 1024, 4096) if FULL else (256, 1024)
SPECS = [GANSpec(generator=(1, n, 1), discriminator=(1, 1), batch=128) for n in WIDTHS]
SHAPES = by_shape("batch_norm", SPECS)


class BatchNorm(Timed):
    """Seconds per normalisation with its statistics."""

    operation = "batch_norm"
    specs = SHAPES

    def setup_cache(self) -> None:
        self.answer()
