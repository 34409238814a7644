"""Rows in another shape: a vector as an image, an image as a vector. It has no parameters and no work."""

from typing import Any

from .base import Layer, Maps, Product


class Reshape(Layer, frozen=True, kw_only=True):
    """From ``before`` to ``after``, which have as many values, in the order C, H, W."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.before

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.after

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def count(self) -> int:
        return 0

    def parameters(self, number: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return ()

    def init(self, *_: Any) -> list[Any]:
        return []

    def forward(self, x: Any, w: Any, on: Maps) -> Any:
        return on.reshape(x, self.before, self.after)

    def input_grad(self, delta: Any, w: Any, on: Maps) -> Any:
        return on.reshape(delta, self.after, self.before)

    def weight_grad(self, x: Any, delta: Any, on: Maps) -> Any:
        raise TypeError("a layer without a weight has no gradient of one")

    def forward_product(self, rows: int) -> Product:
        return Product(0, 0, 0)

    input_grad_product = weight_grad_product = forward_product


def reshape(before: tuple[int, ...], after: tuple[int, ...]) -> Reshape:
    """Return the layer that does nothing else."""
    return Reshape(activation="identity", batch_norm=False, bias=False, before=before, after=after)
