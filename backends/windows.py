"""Convolutions as matrix products, for NumPy and CuPy: the windows of an image are the rows of a matrix.

Images are (B·H·W, C), one row for each pixel, so a row of a window is one run of memory.
"""

import math
from typing import Any

from ganbench.backend import Array
from ganbench.layers import Window


class Windows:
    """The maps of ``ganbench.layers.Maps`` on arrays of the module ``xp``."""

    xp: Any

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        return self._columns(x, window) @ _matrix(w)

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        """By cells where these have fewer values than windows, which else are added up where they were taken."""
        (c, *_), (o, *_), k, s, _ = window
        if window.whole:
            return (y @ _matrix(w).T).reshape(-1, c)
        return (self._by_cells if o * math.ceil(k / s) ** 2 <= c * k**2 else self._by_windows)(y, w, window)

    def _by_windows(self, y: Array, w: Array, window: Window) -> Array:
        (c, height, width), (_, h, v), k, s, p = window
        windows = (y @ _matrix(w).T).reshape(-1, h, v, k, k, c)
        image = self.xp.zeros((len(windows), height + 2 * p, width + 2 * p, c), y.dtype)
        for row in range(k):
            for column in range(k):
                image[:, row : row + s * h : s, column : column + s * v : s] += windows[:, :, :, row, column]
        return image[:, p : p + height, p : p + width].reshape(-1, c)

    def _by_cells(self, y: Array, w: Array, window: Window) -> Array:
        """Cells of stride² pixels are a convolution of y with stride 1: pixel s·q + a has the taps s·t + a of y[q − t].

        No zeros are multiplied but those of taps that the kernel lacks, and those round y.
        """
        (c, height, width), (o, h, v), k, s, p = window
        taps = math.ceil(k / s)
        whole = self.xp.zeros((o, c, taps * s, taps * s), w.dtype)
        whole[:, :, :k, :k] = w
        turned = whole.reshape(o, c, taps, s, taps, s)[:, :, ::-1, :, ::-1].transpose(2, 4, 0, 3, 5, 1)
        cells = (o, h + taps - 1, v + taps - 1)
        around = Window((o, h, v), cells, taps, 1, taps - 1)
        found = (self._columns(y, around) @ turned.reshape(taps * taps * o, -1)).reshape(-1, *cells[1:], s, s, c)
        image = self.xp.zeros((len(found), height, width, c), y.dtype)
        for a, row, q, n in _phases(height, cells[1], s, p):
            for b, column, r, m in _phases(width, cells[2], s, p):
                image[:, row : row + s * n : s, column : column + s * m : s] = found[:, q : q + n, r : r + m, a, b]
        return image.reshape(-1, c)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        k = window.kernel
        return (y.T @ self._columns(x, window)).reshape(-1, k, k, window.big[0]).transpose(0, 3, 1, 2)

    def _columns(self, x: Array, window: Window) -> Array:
        """Return the windows of an image as rows (B·h·w, k·k·C)."""
        (c, height, width), (_, h, v), k, s, p = window
        if window.whole:
            return x.reshape(-1, height * width * c)
        image = x.reshape(-1, height, width, c)
        if p:
            padded = self.xp.zeros((len(image), height + 2 * p, width + 2 * p, c), x.dtype)
            padded[:, p : p + height, p : p + width] = image
            image = padded
        n, down, right, one = image.strides
        as_strided, shape = self.xp.lib.stride_tricks.as_strided, (len(image), h, v, k, k * c)
        return as_strided(image, shape, (n, s * down, s * right, down, one)).reshape(-1, k * k * c)


def _phases(side: int, cells: int, s: int, p: int) -> list[tuple[int, int, int, int]]:
    """Return for each place in a cell: itself, its first pixel that is no padding, the cell of that, and how many."""
    found = []
    for place in range(s):
        pixel, cell = (place - p) % s, max(0, -((place - p) // s))
        found.append((place, pixel, cell, min(-((pixel - side) // s), cells - cell)))
    return found


def _matrix(w: Array) -> Array:
    """Return a weight (O, C, k, k) as (k·k·C, O)."""
    return w.transpose(2, 3, 1, 0).reshape(-1, len(w))
