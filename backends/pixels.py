"""An image as a matrix (B·H·W, C), one row for each pixel, as the maps of most modes take it."""

import math
from typing import Any

from ganbench.backend import Array
from ganbench.layers import OnImages


class OnPixels:
    """One convolution alone, on arrays of ``xp``, by the maps of ``ganbench.layers.Maps`` that a subclass has."""

    xp: Any

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        """As ``ArrayOps`` says."""
        maps: Any = self
        return self._as_image(layer.forward(self._as_pixels(x), w, maps), layer.out_shape)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        """As ``ArrayOps`` says."""
        maps: Any = self
        x, grad = self._as_pixels(x), self._as_pixels(grad)
        return self._as_image(layer.input_grad(grad, w, maps), layer.in_shape), layer.weight_grad(x, grad, maps)

    def _as_pixels(self, image: Array) -> Array:
        """Return an image (B, C, H, W) as rows: a view, if its channels lie last in memory."""
        return self.xp.moveaxis(image, 1, -1).reshape(-1, image.shape[1])

    def _as_image(self, pixels: Array, shape: tuple[int, ...]) -> Array:
        c, *sides = shape
        return self.xp.moveaxis(pixels.reshape(-1, *sides, c), -1, 1)

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        """A vector has the order C, H, W, the rows of an image H, W, C."""
        if len(before) > 1:
            c, *sides = before
            x = self._in_order(x.reshape(-1, math.prod(sides), c).swapaxes(1, 2), "vector")
        if len(after) == 1:
            return x.reshape(-1, *after)
        c, *sides = after
        return self._in_order(x.reshape(-1, c, math.prod(sides)).swapaxes(1, 2), "image").reshape(-1, c)

    def _in_order(self, view: Array, use: str) -> Array:
        """Return what ``reshape`` takes or copies; in place it is copied to memory that is kept for that use."""
        return view
