"""What a trained generator makes of noise, by the NumPy backend's own forward pass."""

from collections.abc import Sequence

import msgspec
import numpy as np

from .. import registry
from ..gan import BATCH_NORM_EPS, GANSpec
from ..layers import by_layer


def generate(spec: GANSpec, params: Sequence[np.ndarray], running: Sequence[np.ndarray], z: np.ndarray) -> np.ndarray:
    """Return (n, img_dim) for noise z (n, z_dim).

    Batch norm takes the ``running`` statistics that training kept, not those of z: what one row becomes does not
    depend on the others, and a single one can be made. With these it is linear, so weights and biases take it up.
    """
    layers, statistics, folded = spec.generator_layers, iter(running), []
    for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
        if layer.batch_norm:
            gamma, beta, mean, var = *rest, next(statistics), next(statistics)
            scale = gamma / np.sqrt(var + BATCH_NORM_EPS)
            w, rest = scale[:, None] * w, [beta - scale * mean]
        folded += [w, *rest]
    plain = msgspec.structs.replace(spec, batch_norm=False)
    return np.asarray(registry.load("numpy")().generator_forward(plain, folded, z))
