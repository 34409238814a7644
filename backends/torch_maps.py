"""Convolutions by ATen on rows of pixels, which are an image whose channels come last."""

import math
from typing import Any

from ganbench.backend import Array
from ganbench.layers import Window

FEW = 8  # channels of a big image: with fewer, oneDNN's transposed convolution takes twice as long as by cells


class TorchMaps:
    """The maps of ``ganbench.layers.Maps`` on tensors (B·H·W, C); weights lie in memory as (O, k, k, C)."""

    def __init__(self, torch: Any) -> None:
        self.xp = torch

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        if window.whole:
            return x.reshape(-1, math.prod(window.big)) @ _matrix(w).T
        return _rows(self._convolution(_image(x, window.big), w, window, transposed=False))

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        c = window.big[0]
        if window.whole:
            return (y @ _matrix(w)).reshape(-1, c)
        if c >= FEW:
            return _rows(self._convolution(_image(y, window.small), w, window, transposed=True, rest=window.rest))
        return self._by_cells(y, w, window)

    def _by_cells(self, y: Array, w: Array, window: Window) -> Array:
        """By one product: of each pixel a window, in cells of stride² pixels, which are added up where they belong."""
        (c, height, width), (o, h, v), k, s, p = window
        pad, taps = self.xp.nn.functional.pad, math.ceil(k / s)
        rows, columns, lacking = h + taps - 1, v + taps - 1, taps * s - k
        whole = pad(w, (0, lacking, 0, lacking)).reshape(o, c, taps, s, taps, s)
        windows = y @ whole.permute(0, 2, 4, 3, 5, 1).reshape(o, -1)
        found = windows.reshape(-1, h, v, taps, taps, s * s * c)
        cells = sum(
            pad(found[:, :, :, t, r], (0, 0, r, taps - 1 - r, t, taps - 1 - t))
            for t in range(taps)
            for r in range(taps)
        )
        image = cells.reshape(-1, rows, columns, s, s, c).swapaxes(2, 3).reshape(-1, s * rows, s * columns, c)
        return pad(image, (0, 0, -p, width + p - s * columns, -p, height + p - s * rows)).reshape(-1, c)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        c, o, k = window.big[0], window.small[0], window.kernel
        if window.whole:
            return (y.T @ x.reshape(len(y), -1)).reshape(o, k, k, c).permute(0, 3, 1, 2)
        like = x.new_empty((o, k, k, c)).permute(0, 3, 1, 2)  # its numbers are not read
        small, big = _image(y, window.small), _image(x, window.big)
        return gradients(self.xp, small, big, like, window, False, [False, True, False])[1]

    def _convolution(
        self, image: Array, w: Array, window: Window, transposed: bool, rest: tuple[int, int] = (0, 0)
    ) -> Array:
        strides, paddings = [window.stride] * 2, [window.padding] * 2
        return self.xp.ops.aten.convolution(image, w, None, strides, paddings, [1, 1], transposed, [*rest], 1)


def gradients(
    torch: Any, grad: Array, x: Array, w: Array, window: Window, transposed: bool, wanted: list[bool]
) -> tuple[Array, Array, Array]:
    """Return those gradients of a convolution that are wanted, by its input, weight and bias."""
    strides, paddings = [window.stride] * 2, [window.padding] * 2
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        grad, x, w, None, strides, paddings, [1, 1], transposed, [0, 0], 1, wanted
    )


def _image(x: Array, shape: tuple[int, int, int]) -> Array:
    c, height, width = shape
    return x.reshape(-1, height, width, c).permute(0, 3, 1, 2)


def _rows(image: Array) -> Array:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _matrix(w: Array) -> Array:
    """Return a weight (O, C, k, k) as (O, k·k·C)."""
    return w.permute(0, 2, 3, 1).reshape(len(w), -1)
