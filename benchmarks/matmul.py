"""``matmul`` at the shapes of the model's own layers and over a sweep of squares."""

from ganbench.gan import preset
from ganbench.operations import layers

from .common import FULL, Timed, by_shape

MODEL = preset("mnist-mlp")
OWN = [(MODEL.batch, one.n_in, one.n_out) for one in (*MODEL.generator_layers, *MODEL.discriminator_layers[:-1])]
SIZES = (64, 128, 256, 512, 1024, 2048) if FULL else (512,)
SHAPES = [*(OWN if FULL else OWN[1:2]), *((n, n, n) for n in SIZES)]


class Matmul(Timed):
    """Seconds per product."""

    operations = by_shape(*(layers.Matmul(*shape) for shape in SHAPES))

    def setup_cache(self) -> None:
        self.answer()
