"""``matmul`` at the shapes of the model's own layers and over a sweep of squares."""

from ganbench.gan import preset

from .common import FULL, Timed, by_shape, layers, product

OWN = layers(preset("mnist-mlp"))
SIZES = (64, 128, 256, 512, 1024, 2048) if FULL else (512,)
SQUARES = by_shape("matmul", (product(n, n, n) for n in SIZES))
SHAPES = OWN | SQUARES if FULL else {"128x256x784": OWN["128x256x784"]} | SQUARES


class Matmul(Timed):
    """Seconds per product."""

    operation = "matmul"
    specs = SHAPES

    def setup_cache(self) -> None:
        self.answer()
