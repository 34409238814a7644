"""A network is a sequence of layers, and its parameters one flat list: W, b or W, gamma, beta of each layer in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from .base import Activation, Init, Layer
from .dense import Dense

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


def mlp(widths: Sequence[int], activations: Sequence[Activation], batch_norm: bool) -> tuple[Dense, ...]:
    """Return dense layers of these widths; batch norm, where asked for, on the hidden ones."""
    last = len(widths) - 2
    return tuple(
        Dense(n_in=n_in, n_out=n_out, activation=activation, batch_norm=batch_norm and index < last)
        for index, (n_in, n_out, activation) in enumerate(zip(widths[:-1], widths[1:], activations, strict=True))
    )


def weighted(layers: Sequence[Layer]) -> list[Layer]:
    """Return those layers that have parameters: all but ``Reshape``."""
    return [layer for layer in layers if layer.count]


def parameters(layers: Sequence[Layer]) -> list[tuple[str, tuple[int, ...]]]:
    """Return (name, shape) of every parameter of a network, in the order backends receive them."""
    return [entry for number, layer in enumerate(weighted(layers), 1) for entry in layer.parameters(number)]


def running(layers: Sequence[Layer]) -> list[tuple[str, tuple[int, ...]]]:
    """Return (name, shape) of what batch norm keeps of each layer, numbered as its weight is: mean1, var1, ..."""
    normalised = [(number, layer) for number, layer in enumerate(weighted(layers), 1) if layer.batch_norm]
    return [(f"{name}{number}", (layer.channels,)) for number, layer in normalised for name in ("mean", "var")]


def n_params(layers: Sequence[Layer]) -> int:
    """Return how many numbers the parameters of a network are."""
    return sum(math.prod(shape) for _, shape in parameters(layers))


def by_layer(layers: Sequence[Layer], params: Sequence[T]) -> list[tuple[T, ...]]:
    """Return a network's flat parameter list cut into one tuple per layer: (W, b), (W, gamma, beta), (W,) or ()."""
    cut, start = [], 0
    for layer in layers:
        end = start + layer.count
        cut.append(tuple(params[start:end]))
        start = end
    return cut


def weights(layers: Sequence[Layer], params: Sequence[T]) -> list[T | None]:
    """Return the weight of each layer, None of one without."""
    return [own[0] if own else None for own in by_layer(layers, params)]


def cast_weights(layers: Sequence[Layer], params: Sequence[T], cast: Callable[[T], T]) -> list[T]:
    """Return parameters as halves flow through them: weights and biases cast, gamma and beta as they are."""
    cut = zip(layers, by_layer(layers, params), strict=True)
    return [p if index and layer.batch_norm else cast(p) for layer, part in cut for index, p in enumerate(part)]


def smooth_depth(layers: Sequence[Layer]) -> int:
    """Return how many layers lie below the last activation that is smooth, the layer with it included."""
    depth = 0
    for number, layer in enumerate(layers, 1):  # a loop, which torch.compile understands
        depth = number if layer.smooth else depth
    return depth


def initial_params(
    rng: np.random.Generator, layers: Sequence[Layer], dtype: str, init: Init = "uniform"
) -> list[np.ndarray]:
    """Return fresh parameters of every layer, drawn in order."""
    return [parameter for layer in layers for parameter in layer.init(rng, dtype, init)]
