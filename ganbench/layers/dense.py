"""The fully connected layer. Its weight is (n_out, n_in), as ``torch.nn.Linear`` stores it."""

from typing import Any

from .base import Layer, Maps, Product


class Dense(Layer, frozen=True, kw_only=True):
    """``x Wᵀ``, from (B, n_in) to (B, n_out)."""

    n_in: int
    n_out: int

    @property
    def in_shape(self) -> tuple[int, ...]:
        return (self.n_in,)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (self.n_out,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.n_out, self.n_in

    def forward(self, x: Any, w: Any, on: Maps) -> Any:
        return on.matmul(x, w.T)

    def input_grad(self, delta: Any, w: Any, on: Maps) -> Any:
        return on.matmul(delta, w)

    def weight_grad(self, x: Any, delta: Any, on: Maps) -> Any:
        return on.matmul(delta.T, x)

    def forward_product(self, rows: int) -> Product:
        return Product(rows, self.n_in, self.n_out, b_transposed=True)

    def input_grad_product(self, rows: int) -> Product:
        return Product(rows, self.n_out, self.n_in)

    def weight_grad_product(self, rows: int) -> Product:
        return Product(self.n_out, rows, self.n_in, a_transposed=True)
