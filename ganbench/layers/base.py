"""What every kind of layer has: a map that is linear in its input and in its weight, and its three products."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from operator import matmul
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    import numpy as np

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "identity"]
Matmul = Callable[[Any, Any], Any]  # what multiplies two matrices


class Product(NamedTuple):
    """One matrix product, (m, k) · (k, n); an operand that is stored transposed is handed over as a view."""

    m: int
    k: int
    n: int
    a_transposed: bool = False
    b_transposed: bool = False


class Layer(msgspec.Struct, frozen=True):
    """``activation(batch_norm?(forward(x, w)))``, with a bias where there is no batch norm.

    ``forward`` is linear in x and in w, so two more products are its gradients. They take a function ``product``, by
    which the oracle sees every matrix product.
    """

    activation: Activation
    batch_norm: bool

    @property
    @abstractmethod
    def in_shape(self) -> tuple[int, ...]:
        """The shape of one row of its input."""

    @property
    @abstractmethod
    def out_shape(self) -> tuple[int, ...]:
        """The shape of one row of its output."""

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of its weight, as PyTorch stores it."""

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """How many inputs one output has."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """How many biases it has, or pairs of gamma and beta."""

    @abstractmethod
    def forward(self, x: Any, w: Any, product: Matmul = matmul) -> Any:
        """Return the output for ``x``, before bias, batch norm and activation."""

    @abstractmethod
    def input_grad(self, delta: Any, w: Any, product: Matmul = matmul) -> Any:
        """Return ∂L/∂x for ``delta`` = ∂L/∂forward."""

    @abstractmethod
    def weight_grad(self, x: Any, delta: Any, product: Matmul = matmul) -> Any:
        """Return ∂L/∂w for ``delta`` = ∂L/∂forward."""

    @abstractmethod
    def forward_product(self, rows: int) -> Product:
        """Return the matrix product of ``forward``."""

    @abstractmethod
    def input_grad_product(self, rows: int) -> Product:
        """Return the matrix product of ``input_grad``."""

    @abstractmethod
    def weight_grad_product(self, rows: int) -> Product:
        """Return the matrix product of ``weight_grad``."""

    @property
    def smooth(self) -> bool:
        """Whether the slope of its activation changes elsewhere than at a kink."""
        return self.activation in ("tanh", "sigmoid")

    def flops(self, batch: int) -> int:
        """Return the least FLOP of one of its three products for ``batch`` rows: all take the same."""
        m, k, n, *_ = self.forward_product(batch)
        return 2 * m * k * n

    def parameters(self, number: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return (name, shape) of each parameter of this layer, the ``number``-th, counted from 1."""
        weight = (f"W{number}", self.weight_shape)
        if self.batch_norm:  # batch norm subtracts the mean, so a bias before it would do nothing
            return weight, (f"gamma{number}", (self.channels,)), (f"beta{number}", (self.channels,))
        return weight, (f"b{number}", (self.channels,))

    def init(self, rng: np.random.Generator, dtype: str) -> list[np.ndarray]:
        """Return fresh parameters: uniform(±1/√fan_in) as ``torch.nn.Linear``; gamma 1, beta 0."""
        bound = 1 / math.sqrt(self.fan_in)
        weight = rng.uniform(-bound, bound, self.weight_shape).astype(dtype)
        if self.batch_norm:
            gamma = weight.dtype.type(1).repeat(self.channels)
            return [weight, gamma, gamma * 0]
        return [weight, rng.uniform(-bound, bound, self.channels).astype(dtype)]
