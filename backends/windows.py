"""Convolutions as matrix products, for NumPy and CuPy: the windows of an image are the rows of a matrix.

Images are (B·H·W, C), one row for each pixel, so a row of a window is one run of memory.
"""

import math
from typing import Any

from ganbench.backend import Array
from ganbench.layers import Window

from .pixels import OnPixels


class Windows(OnPixels):
    """The maps of ``ganbench.layers.Maps`` on arrays of the module ``xp``."""

    xp: Any

    def conv(self, x: Array, w: Array, window: Window, out: Array = None) -> Array:
        return self._times(self._columns(x, window), matrix(w), out)

    def conv_transpose(self, y: Array, w: Array, window: Window, out: Array = None) -> Array:
        """By cells where these have fewer values than windows, which else are added up where they were taken."""
        (c, height, width), (o, *_), k, s, _ = window
        if window.whole:
            return self._times(y, matrix(w).T, None if out is None else out.reshape(len(y), -1)).reshape(-1, c)
        images = len(y) // math.prod(window.small[1:])
        if out is None:
            out = self.xp.empty((images * height * width, c), y.dtype)
        make = self._by_cells if o * math.ceil(k / s) ** 2 <= c * k**2 else self._by_windows
        make(y, w, window, out.reshape(images, height, width, c))
        return out

    def conv_weight_grad(self, x: Array, y: Array, window: Window, out: Array = None) -> Array:
        k, rows = window.kernel, None if out is None else out.transpose(0, 2, 3, 1).reshape(len(out), -1)
        found = self._times(y.T, self._columns_again(x, window), rows)
        return found.reshape(-1, k, k, window.big[0]).transpose(0, 3, 1, 2)

    def _times(self, a: Array, b: Array, out: Array = None) -> Array:
        """Return ``a b``, in ``out`` where given."""
        return self.xp.matmul(a, b, out=out)

    def _zeros(self, shape: tuple[int, ...], dtype: Any, written: object) -> Array:
        """Return an array that is 0 but where it is ``written``; in place it is one for all with the same words."""
        return self.xp.zeros(shape, dtype)

    def _by_windows(self, y: Array, w: Array, window: Window, out: Array) -> None:
        (c, height, width), (_, h, v), k, s, p = window
        windows = self._times(y, matrix(w).T).reshape(-1, h, v, k, k, c)
        image = self._zeros((len(windows), height + 2 * p, width + 2 * p, c), y.dtype, "everywhere")
        image.fill(0)
        for row in range(k):
            for column in range(k):
                image[:, row : row + s * h : s, column : column + s * v : s] += windows[:, :, :, row, column]
        out[...] = image[:, p : p + height, p : p + width]

    def _by_cells(self, y: Array, w: Array, window: Window, out: Array) -> None:
        """Cells of stride² pixels are a convolution of y with stride 1: pixel s·q + a has the taps s·t + a of y[q − t].

        No zeros are multiplied but those of taps that the kernel lacks, and those round y.
        """
        (c, height, width), (o, h, v), k, s, p = window
        taps = math.ceil(k / s)
        whole = self._zeros((o, c, taps, s, taps, s), w.dtype, k)
        whole.reshape(o, c, taps * s, taps * s)[:, :, :k, :k] = w
        turned = self._in_order(whole[:, :, ::-1, :, ::-1].transpose(2, 4, 0, 3, 5, 1), "turned")
        cells = (o, h + taps - 1, v + taps - 1)
        around = Window((o, h, v), cells, taps, 1, taps - 1)
        found = self._times(self._columns(y, around), turned.reshape(taps * taps * o, -1))
        found = found.reshape(-1, *cells[1:], s, s, c)
        if any(window.rest):
            out[...] = 0
        for a, row, q, n in _phases(height, cells[1], s, p):
            for b, column, r, m in _phases(width, cells[2], s, p):
                out[:, row : row + s * n : s, column : column + s * m : s] = found[:, q : q + n, r : r + m, a, b]

    def _columns(self, x: Array, window: Window) -> Array:
        """Return the windows of an image as rows (B·h·w, k·k·C)."""
        (c, height, width), (_, h, v), k, s, p = window
        if window.whole:
            return x.reshape(-1, height * width * c)
        image = x.reshape(-1, height, width, c)
        if p:
            padded = self._zeros((len(image), height + 2 * p, width + 2 * p, c), x.dtype, p)
            padded[:, p : p + height, p : p + width] = image
            image = padded
        n, down, right, one = image.strides
        as_strided, shape = self.xp.lib.stride_tricks.as_strided, (len(image), h, v, k, k * c)
        windows = as_strided(image, shape, (n, s * down, s * right, down, one))
        return self._in_order(windows, "windows").reshape(-1, k * k * c)

    def _columns_again(self, x: Array, window: Window) -> Array:
        """Return the windows of an image of which ``conv`` may have them already."""
        return self._columns(x, window)


def _phases(side: int, cells: int, s: int, p: int) -> list[tuple[int, int, int, int]]:
    """Return for each place in a cell: itself, its first pixel that is no padding, the cell of that, and how many."""
    found = []
    for place in range(s):
        pixel, cell = (place - p) % s, max(0, -((place - p) // s))
        found.append((place, pixel, cell, min(-((pixel - side) // s), cells - cell)))
    return found


def matrix(w: Array) -> Array:
    """Return a weight (O, C, k, k) as (k·k·C, O)."""
    return w.transpose(2, 3, 1, 0).reshape(-1, len(w))
