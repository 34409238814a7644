"""Convolution and transposed convolution. Their weights are as ``torch.nn.Conv2d`` and ``ConvTranspose2d`` store them.

Both are cross-correlations. What is forward in the one is the gradient by the input in the other, so both have one
``Window`` and three maps: docs/convolutions.md has the formulas. The weight is (C of small, C of big, kernel, kernel).
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

from .base import Layer, Maps, Product, Window


class OnImages(Layer, frozen=True, kw_only=True):
    """What both have in common."""

    window: Window
    turned: ClassVar[bool] = False  # whether it makes the big image of its window from the small one

    @classmethod
    @abstractmethod
    def over(cls, image: tuple[int, int, int], out: int, kernel: int, stride: int, padding: int, **fields: Any) -> Self:
        """Return the layer that makes ``out`` channels of such an image."""

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.window.small if self.turned else self.window.big

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.window.big if self.turned else self.window.small

    @property
    def out_axis(self) -> int:
        return int(self.turned)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.window.small[0], self.window.big[0], self.window.kernel, self.window.kernel

    def flops(self, batch: int) -> int:
        """Padding is left out, since a product by its zeros need not be computed."""
        return 2 * batch * self.window.big[0] * self.window.small[0] * self.window.places(1) * self.window.places(2)

    def _positions(self, rows: int) -> tuple[int, int]:
        """Return how many positions windows have in so many images, and how many values each has."""
        return rows * math.prod(self.window.small[1:]), self.window.big[0] * self.window.kernel**2

    def weight_grad(self, x: Any, delta: Any, on: Maps) -> Any:
        big, small = (delta, x) if self.turned else (x, delta)
        return on.conv_weight_grad(big, small, self.window)

    def forward(self, x: Any, w: Any, on: Maps) -> Any:
        return (on.conv_transpose if self.turned else on.conv)(x, w, self.window)

    def input_grad(self, delta: Any, w: Any, on: Maps) -> Any:
        return (on.conv if self.turned else on.conv_transpose)(delta, w, self.window)

    def forward_product(self, rows: int) -> Product:
        return self._conv_transpose_product(rows) if self.turned else self._conv_product(rows)

    def input_grad_product(self, rows: int) -> Product:
        return self._conv_product(rows) if self.turned else self._conv_transpose_product(rows)

    def _conv_product(self, rows: int) -> Product:
        """Return the product of columns, which are windows as rows, with the weight."""
        positions, values = self._positions(rows)
        return Product(positions, values, self.window.small[0], b_transposed=True)

    def _conv_transpose_product(self, rows: int) -> Product:
        positions, values = self._positions(rows)
        return Product(positions, self.window.small[0], values)

    def weight_grad_product(self, rows: int) -> Product:
        positions, values = self._positions(rows)
        return Product(self.window.small[0], positions, values, a_transposed=True)


class Conv(OnImages, frozen=True, kw_only=True):
    """From the big image of its window to the small one: h = ⌊(H + 2p − k)/s⌋ + 1."""

    @classmethod
    def over(cls, image: tuple[int, int, int], out: int, kernel: int, stride: int, padding: int, **fields: Any) -> Self:
        h, w = ((side + 2 * padding - kernel) // stride + 1 for side in image[1:])
        return cls(**fields, window=Window(image, (out, h, w), kernel, stride, padding))


class ConvTranspose(OnImages, frozen=True, kw_only=True):
    """From the small image of its window to the big one: H = (h − 1)s − 2p + k."""

    turned = True

    @classmethod
    def over(cls, image: tuple[int, int, int], out: int, kernel: int, stride: int, padding: int, **fields: Any) -> Self:
        height, width = ((side - 1) * stride - 2 * padding + kernel for side in image[1:])
        return cls(**fields, window=Window((out, height, width), image, kernel, stride, padding))
