"""The oracle's linear maps. An image is (B, C, H, W); its windows are the rows of a matrix, so each map is one product.

Images lie in memory as (B, H, W, C), which costs nothing here and makes windows quick to copy.
"""

import math
from collections.abc import Callable
from operator import matmul

import numpy as np

from ..array_ops import Array
from ..layers import Window


def by_channel(x: Array) -> Array:
    """Return an image as (B·H·W, C), one row for each pixel; a vector (B, n) as it is."""
    return x if x.ndim == 2 else np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def like(rows: Array, x: Array) -> Array:
    """Return what ``by_channel`` made of an array of the shape of ``x`` in that shape."""
    return rows if x.ndim == 2 else np.moveaxis(rows.reshape(len(x), *x.shape[2:], -1), -1, 1)


class NumpyMaps:
    """Maps that take every matrix product by ``product``."""

    def __init__(self, product: Callable[[Array, Array], Array] = matmul) -> None:
        self.matmul = product

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        """Return Σ w[o,c,u,v] · x[n, c, s·i+u−p, s·j+v−p] as [n,o,i,j], with x = 0 outside."""
        rows = self.matmul(_columns(x, window), _matrix(w))
        return np.moveaxis(rows.reshape(len(x), *window.small[1:], -1), -1, 1)

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        """Return Σ w[o,c,u,v] · y[n,o,i,j] as [n, c, s·i+u−p, s·j+v−p]: windows are added where they were taken."""
        k, s, p = window[2:]
        (c, *sides), (h, width) = window.big, window.small[1:]
        windows = self.matmul(by_channel(y), _matrix(w).T).reshape(len(y), h, width, k, k, c)
        padded = np.zeros((len(y), *(side + 2 * p for side in sides), c), windows.dtype)
        for u in range(k):
            for v in range(k):
                padded[:, u : u + s * h : s, v : v + s * width : s] += windows[:, :, :, u, v]
        return np.moveaxis(padded[:, p : p + sides[0], p : p + sides[1]], -1, 1)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        """Return Σ y[n,o,i,j] · x[n, c, s·i+u−p, s·j+v−p] as [o,c,u,v]."""
        found = self.matmul(by_channel(y).T, _columns(x, window))
        return np.moveaxis(found.reshape(-1, window.kernel, window.kernel, window.big[0]), -1, 1)

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        return x.reshape(len(x), *after)


def _matrix(w: Array) -> Array:
    """Return a weight (O, C, k, k) as (k·k·C, O)."""
    return np.moveaxis(w, 1, -1).reshape(len(w), -1).T


def _columns(x: Array, window: Window) -> Array:
    """Return the windows of an image as rows (B·h·w, k·k·C)."""
    k, s, p = window[2:]
    padded = np.pad(np.moveaxis(x, 1, -1), ((0, 0), (p, p), (p, p), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::s, ::s]
    return np.moveaxis(views, 3, -1).reshape(len(x) * math.prod(window.small[1:]), -1)
