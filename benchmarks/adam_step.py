"""``adam_step`` over parameter counts."""

from ganbench.gan import preset
from ganbench.layers import Dense
from ganbench.operations import networks

from .common import FULL, Timed, by_shape

# (n_in + 1) · n_out parameters in one layer; the model's own generator has 218,128 in two.
WIDTHS = [(79, 128), (1023, 1024), (4095, 4096)] if FULL else [(1023, 1024)]
LAYERS = [Dense(n_in=n_in, n_out=n_out, activation="identity", batch_norm=False) for n_in, n_out in WIDTHS]


class AdamStep(Timed):
    """Seconds per step on all parameters."""

    operations = by_shape(networks.AdamStep.of(preset("mnist-mlp")), *(networks.AdamStep((layer,)) for layer in LAYERS))

    def setup_cache(self) -> None:
        self.answer()
