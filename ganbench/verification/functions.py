"""The oracle's activations σ, by name, with their first and second derivatives; and phi of a loss with its first."""

from collections.abc import Callable

import numpy as np

from ..array_ops import Array
from ..gan import LEAKY_SLOPE


def act(name: str, x: Array) -> Array:
    """Return σ."""
    if name == "relu":
        return np.maximum(x, 0.0)
    if name == "leaky_relu":
        return np.maximum(x, LEAKY_SLOPE * x)
    if name == "tanh":
        return np.tanh(x)
    if name == "sigmoid":
        return np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x)))
    return x


def act_slope(name: str, x: Array) -> Array:
    """Return σ'."""
    if name == "relu":
        return (x > 0) * 1.0
    if name == "leaky_relu":
        return (x > 0) * (1.0 - LEAKY_SLOPE) + LEAKY_SLOPE
    if name == "tanh":
        return 1.0 - np.tanh(x) ** 2
    if name == "sigmoid":
        tail = np.exp(-np.abs(x))
        return tail / (1.0 + tail) ** 2
    return np.ones_like(x)


def act_curvature(name: str, x: Array, slope: Array) -> Array:
    """Return σ'', given σ'."""
    if name == "tanh":
        return -2.0 * np.tanh(x) * slope
    if name == "sigmoid":
        return (1.0 - 2.0 * act(name, x)) * slope
    return np.zeros_like(x)


# Of a loss's terms: phi and its slope.
PHI: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "softplus": lambda t: (np.logaddexp(0, t), act("sigmoid", t)),
    "relu": lambda t: (act("relu", t), act_slope("relu", t)),
    "square": lambda t: (t**2, 2 * t),
    "identity": lambda t: (t, np.ones_like(t)),
}
