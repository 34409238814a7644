"""The linear maps of images in JAX: as people write them, and as products whose derivatives are each other."""

import itertools
import math
from collections.abc import Callable
from typing import Any

from ganbench.backend import Array
from ganbench.layers import Matrices, OnImages, Window

from .pixels import OnPixels

Map = Callable[[Array, Array, Window], Array]
Gradient = Callable[[Array, Array, Array, Window], Array]


class LaxMaps(Matrices):
    """By ``lax`` on (B, C, H, W); JAX differentiates."""

    def __init__(self, jax: Any) -> None:
        self._convolution, self._vjp = jax.lax.conv_general_dilated, jax.vjp

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        stride, padding = (window.stride,) * 2, [(window.padding,) * 2] * 2
        return self._convolution(x, w, stride, padding, dimension_numbers=("NCHW", "OIHW", "NCHW"))

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        """Of a window whose stride leaves no rest: a convolution of y with zeros between its pixels."""
        padding, dilation = [(window.kernel - 1 - window.padding,) * 2] * 2, (window.stride,) * 2
        turned, layout = w[:, :, ::-1, ::-1], ("NCHW", "IOHW", "NCHW")
        return self._convolution(y, turned, (1, 1), padding, lhs_dilation=dilation, dimension_numbers=layout)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        raise NotImplementedError  # JAX differentiates

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        return x.reshape(-1, *after)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return layer.forward(x, w, self)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        _, pullback = self._vjp(lambda x, w: self.convolution(layer, x, w), x, w)
        return pullback(grad)  # type: ignore[no-any-return]


class CellMaps(Matrices, OnPixels):
    """By products, on (B·H·W, C). A cell is stride × stride pixels, and of cells the kernel's windows have stride 1.

    ⟨F(x, w), y⟩ = ⟨x, A(y, w)⟩ = ⟨w, W(x, y)⟩, so the gradients of each map are the two others, to any order. JAX's own
    weight gradient of ``lhs_dilation`` takes 16 times as long as it need (jax-ml/jax#23783).
    """

    def __init__(self, jax: Any) -> None:
        self.xp, self._pad = jax.numpy, jax.lax.pad

        def with_gradients(map_: Map, by_first: Gradient, by_second: Gradient) -> Map:
            made: Any = jax.custom_vjp(map_, nondiff_argnums=(2,))

            def grads(window: Window, kept: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
                a, b = kept
                return by_first(a, b, grad, window), by_second(a, b, grad, window)

            made.defvjp(lambda a, b, window: (map_(a, b, window), (a, b)), grads)
            return made  # type: ignore[no-any-return]

        self.conv = with_gradients(
            self._conv,
            lambda x, w, y, window: self.conv_transpose(y, w, window),
            lambda x, w, y, window: self.conv_weight_grad(x, y, window),
        )
        self.conv_transpose = with_gradients(
            self._conv_transpose,
            lambda y, w, x, window: self.conv(x, w, window),
            lambda y, w, x, window: self.conv_weight_grad(x, y, window),
        )
        self.conv_weight_grad = with_gradients(
            self._conv_weight_grad,
            lambda x, y, w, window: self.conv_transpose(y, w, window),
            lambda x, y, w, window: self.conv(x, w, window),
        )

    def _conv(self, x: Array, w: Array, window: Window) -> Array:
        return self._columns(x, window) @ self._matrix(w, window)

    def _conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        (c, height, width), (_, h, v), _, _, p = window
        s, taps = _cells(window)
        found = (y @ self._matrix(w, window).T).reshape(-1, h, v, taps, taps, s * s * c)
        cells = sum(
            self.xp.pad(found[:, :, :, t, r], ((0, 0), (t, taps - 1 - t), (r, taps - 1 - r), (0, 0)))
            for t, r in itertools.product(range(taps), repeat=2)
        )
        rows, columns = s * (h + taps - 1), s * (v + taps - 1)
        image = self.xp.swapaxes(cells.reshape(*cells.shape[:3], s, s, c), 2, 3).reshape(-1, rows, columns, c)
        return self._padded(image, (-p, height + p - rows), (-p, width + p - columns)).reshape(-1, c)

    def _conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        (c, _, _), (o, _, _), k, _, _ = window
        s, taps = _cells(window)
        found = (self._columns(x, window).T @ y).reshape(taps, taps, s, s, c, o)
        return found.transpose(5, 4, 0, 2, 1, 3).reshape(o, c, taps * s, taps * s)[:, :, :k, :k]

    def _columns(self, x: Array, window: Window) -> Array:
        """Return the windows of an image as rows (B·h·w, taps² · s² · C)."""
        (c, height, width), (_, h, v), _, _, p = window
        s, taps = _cells(window)
        rows, columns = h + taps - 1, v + taps - 1
        down, right = s * rows - height - p, s * columns - width - p
        image = self._padded(x.reshape(-1, height, width, c), (p, down), (p, right))
        cells = self.xp.swapaxes(image.reshape(-1, rows, s, columns, s, c), 2, 3).reshape(-1, rows, columns, s * s * c)
        seen = [cells[:, t : t + h, r : r + v] for t, r in itertools.product(range(taps), repeat=2)]
        return self.xp.concatenate(seen, -1).reshape(len(image) * h * v, -1)

    def _matrix(self, w: Array, window: Window) -> Array:
        """Return a weight (O, C, k, k) as (taps² · s² · C, O): zeros stand for taps that the kernel lacks."""
        (o, c, k, _), (s, taps) = w.shape, _cells(window)
        whole = self.xp.pad(w, ((0, 0), (0, 0), (0, taps * s - k), (0, taps * s - k)))
        return whole.reshape(o, c, taps, s, taps, s).transpose(2, 4, 3, 5, 1, 0).reshape(-1, o)

    def _padded(self, image: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        """Add pixels of 0 before and behind; a number below 0 takes pixels away."""
        zero = self.xp.zeros((), image.dtype)
        return self._pad(image, zero, ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0)))


def _cells(window: Window) -> tuple[int, int]:
    """Return the side of a cell in pixels, and that of a window in cells; a window that is alone is one cell."""
    s = window.kernel if window.small[1:] == (1, 1) else window.stride
    return s, math.ceil(window.kernel / s)
