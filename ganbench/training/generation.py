"""What a trained generator makes of noise, in plain NumPy, so that it needs no framework."""

from collections.abc import Sequence

import numpy as np

from ..gan import BATCH_NORM_EPS, LEAKY_SLOPE, GANSpec, by_layer


def generate(spec: GANSpec, params: Sequence[np.ndarray], running: Sequence[np.ndarray], z: np.ndarray) -> np.ndarray:
    """Return (n, img_dim) for noise z (n, z_dim).

    Batch norm takes the ``running`` statistics that training kept, not those of z: what one row becomes
    does not depend on the others, and a single one can be made.
    """
    statistics = iter(running)
    for layer, (w, *rest) in zip(spec.generator_layers, by_layer(spec.generator_layers, params), strict=True):
        z = z @ w.T
        if layer.batch_norm:
            mean, var = next(statistics), next(statistics)
            gamma, beta = rest
            z = gamma * (z - mean) / np.sqrt(var + BATCH_NORM_EPS) + beta
        else:
            z = z + rest[0]
        z = _activate(layer.activation, z)
    return z


def _activate(name: str, x: np.ndarray) -> np.ndarray:
    if name == "relu":
        x = np.maximum(x, 0)
    elif name == "leaky_relu":
        x = np.maximum(x, LEAKY_SLOPE * x)
    elif name == "tanh":
        x = np.tanh(x)
    elif name == "sigmoid":
        x = 0.5 * (1 + np.tanh(0.5 * x))  # 1 / (1 + e⁻ˣ), written so that it cannot overflow
    return x
