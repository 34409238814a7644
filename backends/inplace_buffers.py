"""The buffers of a network in place: its parameters, what its layers leave, and the maps that write into them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ganbench.backend import Array, NetworkState
from ganbench.layers import Layer, Window, by_layer, n_params, parameters

if TYPE_CHECKING:
    from .inplace import Kernels


class Network:
    """One network's parameters, gradients and moments: four flat buffers, and a view per tensor."""

    def __init__(self, kernels: "Kernels", layers: Sequence[Layer], start: NetworkState) -> None:
        self.layers = layers
        self.flat = [kernels.empty(n_params(layers)) for _ in range(4)]  # params, m, v, gradients
        self.params, self.m, self.v, self.grads = (views(flat, layers) for flat in self.flat)
        self.running = [kernels.empty(*array.shape) for array in start.running]
        self.own, grads = [own or (None,) for own in by_layer(layers, self.params)], by_layer(layers, self.grads)
        # The gradient of each weight, and those of its biases, or of gamma and beta.
        self.own_grads: list[tuple[Any, Sequence[Array]]] = [
            (Into(kernels, own[0]) if own else None, own[1:]) for own in grads
        ]
        self.first = 1 - bool(layers[0].count)  # the first layer that has parameters

    @property
    def state(self) -> NetworkState:
        """The live arrays."""
        return NetworkState(self.params, self.m, self.v, self.running)


class Into(NamedTuple):
    """The maps of ``ganbench.layers.Maps``, each of which writes what it makes into ``out``."""

    kernels: "Kernels"
    out: Array

    def matmul(self, a: Array, b: Array) -> None:
        self.kernels.product(a, b, self.out)

    def conv(self, x: Array, w: Array, window: Window) -> None:
        self.kernels.conv(x, w, window, self.out)

    def conv_transpose(self, y: Array, w: Array, window: Window) -> None:
        self.kernels.conv_transpose(y, w, window, self.out)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> None:
        self.kernels.conv_weight_grad(x, y, window, self.out)

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self.kernels.copy(self.kernels.reshape(x, before, after), self.out)


@dataclass
class Activations:
    """What each layer of a network leaves for the backward pass, for so many rows; of an image each pixel is a row."""

    kernels: "Kernels"
    rows: int
    outs: list[Array]
    deltas: list[Array]
    linear: list[Array | None]  # where there is batch norm ...
    saved: list[list[list[Array]]]  # ... and its statistics, for each part of the rows

    def __post_init__(self) -> None:
        self.below = [Into(self.kernels, delta) for delta in self.deltas[:-1]]

    @classmethod
    def empty(cls, kernels: "Kernels", layers: Sequence[Layer], rows: int, parts: int = 1) -> "Activations":
        """Allocate it; with ``parts``, batch norm takes so many parts of the rows, each by its own statistics."""

        def empty(layer: Layer) -> Array:
            return kernels.empty(rows * layer.pixels, layer.channels)

        linear = [empty(layer) if layer.batch_norm else None for layer in layers]
        saved = [
            [[kernels.empty(layer.channels) for _ in range(2)] for _ in range(parts * layer.batch_norm)]
            for layer in layers
        ]
        outs, deltas = ([empty(layer) for layer in layers] for _ in range(2))
        return cls(kernels, rows, outs, deltas, linear, saved)

    def cut(self, start: int, end: int, outs: list[Array] | None = None) -> "Activations":
        """Return the same memory, cut to some of its rows, which are whole parts; ``outs`` are already cut."""

        def cut(array: Array | None) -> Array | None:
            return None if array is None else array[start * len(array) // self.rows : end * len(array) // self.rows]

        outs, deltas, linear = outs or [*map(cut, self.outs)], [*map(cut, self.deltas)], [*map(cut, self.linear)]
        saved = [parts[start * len(parts) // self.rows : -(-end * len(parts) // self.rows)] for parts in self.saved]
        return Activations(self.kernels, end - start, outs, deltas, linear, saved)


def views(flat: Array, layers: Sequence[Layer]) -> list[Array]:
    """Return one view into ``flat`` per parameter of a network, in the order backends receive them.

    Weights of convolutions, (O, C, k, k), lie in memory as (O, k, k, C): as the windows of an image do.
    """
    cut, start = [], 0
    for _, shape in parameters(layers):
        end = start + math.prod(shape)
        if len(shape) == 4:
            o, c, k, _ = shape
            cut.append(flat[start:end].reshape(o, k, k, c).swapaxes(1, 3).swapaxes(2, 3))
        else:
            cut.append(flat[start:end].reshape(shape))
        start = end
    return cut
