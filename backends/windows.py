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
        """Every window is added up where it was taken."""
        (c, height, width), (_, h, v), k, s, p = window
        windows = y @ _matrix(w).T
        if _whole(window):
            return windows.reshape(-1, c)
        windows = windows.reshape(-1, h, v, k, k, c)
        image = self.xp.zeros((len(windows), height + 2 * p, width + 2 * p, c), y.dtype)
        for row in range(k):
            for column in range(k):
                image[:, row : row + s * h : s, column : column + s * v : s] += windows[:, :, :, row, column]
        return image[:, p : p + height, p : p + width].reshape(-1, c)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        k = window.kernel
        return (y.T @ self._columns(x, window)).reshape(-1, k, k, window.big[0]).transpose(0, 3, 1, 2)

    def _columns(self, x: Array, window: Window) -> Array:
        """Return the windows of an image as rows (B·h·w, k·k·C)."""
        (c, height, width), (_, h, v), k, s, p = window
        if _whole(window):
            return x.reshape(-1, height * width * c)
        image = x.reshape(-1, height, width, c)
        if p:
            padded = self.xp.zeros((len(image), height + 2 * p, width + 2 * p, c), x.dtype)
            padded[:, p : p + height, p : p + width] = image
            image = padded
        n, down, right, one = image.strides
        as_strided, shape = self.xp.lib.stride_tricks.as_strided, (len(image), h, v, k, k * c)
        return as_strided(image, shape, (n, s * down, s * right, down, one)).reshape(-1, k * k * c)


def _matrix(w: Array) -> Array:
    """Return a weight (O, C, k, k) as (k·k·C, O)."""
    return w.transpose(2, 3, 1, 0).reshape(-1, len(w))


def _whole(window: Window) -> bool:
    """Whether there is one window, which is the whole image."""
    return math.prod(window.small[1:]) == 1 and window.big[1:] == (window.kernel, window.kernel) and not window.padding
