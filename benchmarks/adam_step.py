"""``adam_step`` over parameter counts."""

from ganbench.gan import GANSpec, preset

from .common import FULL, Timed, by_shape

# (n_in + 1) · n_out parameters in one layer; the model's own generator has 218,128 in two.
LAYERS = [(79, 128), (1023, 1024), (4095, 4096)] if FULL else [(1023, 1024)]
SPECS = [GANSpec(generator=layer, discriminator=(layer[1], 1), batch=1) for layer in LAYERS]
SHAPES = by_shape("adam_step", [preset("mnist-mlp"), *SPECS])


class AdamStep(Timed):
    """Seconds per step on all parameters."""

    operation = "adam_step"
    specs = SHAPES

    def setup_cache(self) -> None:
        self.answer()
