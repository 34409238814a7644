"""What every kind of layer has: a map that is linear in its input and in its weight, and its three products."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    import numpy as np

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "identity"]
Init = Literal["uniform", "dcgan"]
DCGAN_STD = 0.02  # Radford et al. 2015


class Product(NamedTuple):
    """One matrix product, (m, k) · (k, n); an operand that is stored transposed is handed over as a view."""

    m: int
    k: int
    n: int
    a_transposed: bool = False
    b_transposed: bool = False


class Window(NamedTuple):
    """How a square kernel goes over an image ``big`` (C, H, W): one position for each pixel of ``small`` (C, h, w)."""

    big: tuple[int, int, int]
    small: tuple[int, int, int]
    kernel: int
    stride: int
    padding: int

    @property
    def whole(self) -> bool:
        """Whether there is one window, which is the whole image: then the maps are products, as of dense layers."""
        return self == (self.big, (self.small[0], 1, 1), self.big[1], self.stride, 0) and self.big[1] == self.big[2]

    @property
    def rest(self) -> tuple[int, int]:
        """How many rows and columns of pixels lie behind the last window, because of the stride."""
        h, w = (side + 2 * self.padding - self.kernel for side in self.big[1:])
        return h % self.stride, w % self.stride

    def places(self, axis: int) -> int:
        """Return how many (pixel of ``small``, tap) pairs of an axis lie on no padding."""
        taps = range(-self.padding, self.kernel - self.padding)
        steps = range(0, self.stride * self.small[axis], self.stride)
        return sum(0 <= step + tap < self.big[axis] for step in steps for tap in taps)


class Maps(Protocol):
    """The linear maps that layers are made of, on arrays of one framework; docs/convolutions.md has them.

    An image weight is (C of small, C of big, kernel, kernel). Each of the three maps of images is the adjoint of the
    two others, so that they are all that convolutions and their gradients of any order take.
    """

    def matmul(self, a: Any, b: Any) -> Any:
        """Return ``a b``."""

    def conv(self, x: Any, w: Any, window: Window) -> Any:
        """Return the small image of a big one."""

    def conv_transpose(self, y: Any, w: Any, window: Window) -> Any:
        """Return the big image of a small one."""

    def conv_weight_grad(self, x: Any, y: Any, window: Window) -> Any:
        """Return, for a big image x and a small one y, the weight for which both agree best."""

    def reshape(self, x: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
        """Return rows of shape ``before`` as rows of shape ``after``, in the order C, H, W."""


class Matrices:
    """Products by the operator ``@`` of arrays of any framework, as ``ArrayOps`` says."""

    def matmul(self, a: Any, b: Any) -> Any:
        return a @ b

    def matmul_grad(self, a: Any, b: Any, grad: Any) -> tuple[Any, Any]:
        return grad @ b.T, a.T @ grad


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """``activation(batch_norm?(forward(x, w)))``, with a bias, if it has one, where there is no batch norm.

    ``forward`` is linear in x and in w, so two more maps are its gradients. All three are made of ``Maps``, by which
    every framework computes in its own way, and the oracle sees every matrix product.
    """

    activation: Activation
    batch_norm: bool
    bias: bool = True

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
    def out_axis(self) -> int:
        """Which axis of the weight is that of ``channels``."""
        return 0

    @property
    def fan_in(self) -> int:
        """How many inputs of an output PyTorch counts; of transposed convolutions it takes the outputs of an input."""
        return math.prod(self.weight_shape[1:])

    @property
    def channels(self) -> int:
        """How many biases it has, or pairs of gamma and beta."""
        return self.out_shape[0]

    @property
    def pixels(self) -> int:
        """How many values of a row share a bias or the statistics of batch norm."""
        return math.prod(self.out_shape[1:])

    @abstractmethod
    def forward(self, x: Any, w: Any, on: Maps) -> Any:
        """Return the output for ``x``, before bias, batch norm and activation."""

    @abstractmethod
    def input_grad(self, delta: Any, w: Any, on: Maps) -> Any:
        """Return ∂L/∂x for ``delta`` = ∂L/∂forward."""

    @abstractmethod
    def weight_grad(self, x: Any, delta: Any, on: Maps) -> Any:
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
        """Return the least FLOP of one of its three maps for ``batch`` rows: all take the same."""
        return self.usual_flops(batch)

    def usual_flops(self, batch: int) -> int:
        """Return the FLOP of one of its three maps as they are usually counted: with products by zeros of padding."""
        m, k, n, *_ = self.forward_product(batch)
        return 2 * m * k * n

    @property
    def count(self) -> int:
        """How many parameters it has."""
        return 3 if self.batch_norm else 1 + self.bias

    def parameters(self, number: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return (name, shape) of each parameter of this layer, the ``number``-th of those with any, from 1."""
        weight = (f"W{number}", self.weight_shape)
        if self.batch_norm:  # batch norm subtracts the mean, so a bias before it would do nothing
            return weight, (f"gamma{number}", (self.channels,)), (f"beta{number}", (self.channels,))
        return (weight, (f"b{number}", (self.channels,))) if self.bias else (weight,)

    def init(self, rng: np.random.Generator, dtype: str, init: Init = "uniform") -> list[np.ndarray]:
        """Return fresh parameters: uniform(±1/√fan_in) as ``torch.nn`` has them, gamma 1, beta 0.

        With "dcgan" weights are normal(0, 0.02), gamma is normal(1, 0.02), beta and bias are 0 (Radford et al. 2015).
        """
        import numpy as np

        bound, normal, channels = 1 / math.sqrt(self.fan_in), init == "dcgan", self.channels
        shape, rest = self.weight_shape, []
        weight = DCGAN_STD * rng.standard_normal(shape) if normal else rng.uniform(-bound, bound, shape)
        if self.batch_norm:
            rest = [1 + DCGAN_STD * rng.standard_normal(channels) if normal else np.ones(channels), np.zeros(channels)]
        elif self.bias:
            rest = [np.zeros(channels) if normal else rng.uniform(-bound, bound, channels)]
        return [made.astype(dtype) for made in (weight, *rest)]
