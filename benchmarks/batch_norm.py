"""``batch_norm`` of 128 rows over widths."""

from ganbench.operations import layers

from .common import FULL, Timed, by_shape

WIDTHS = (64, 256, 1024, 4096) if FULL else (256, 1024)


class BatchNorm(Timed):
    """Seconds per normalisation with its statistics."""

    operations = by_shape(*(layers.BatchNorm(128, width) for width in WIDTHS))

    def setup_cache(self) -> None:
        self.answer()
