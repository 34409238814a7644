"""Operations of one layer: its product, batch norm, and their gradients."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from ..array_ops import ArrayOps
from ..gan import BATCH_NORM_EPS, GANSpec
from ..layers import weighted
from ..operation import Inputs, Operation, Output, Shape, outputs_of
from ..precision import accumulation_dtype
from .fresh import turns
from .rounding import to_host


@dataclass(frozen=True)
class OfSizes(Operation):
    """An operation that is determined by its fields, which are the sizes of its shape."""

    @classmethod
    def sized(cls, sizes: Sequence[int]) -> Self:
        return cls(**dict(zip((field.name for field in fields(cls)), sizes, strict=True)))

    @property
    def shape(self) -> Shape:
        return Shape(**asdict(self))


@dataclass(frozen=True)
class BilinearMap(OfSizes):
    """A map that is linear in each of its two operands, or its gradients by both."""

    maps: ClassVar[int] = 1  # how many are computed, each of as many FLOP: the map, or two gradients

    @property
    @abstractmethod
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of both operands and of the result, each by its name."""

    @property
    def _read(self) -> list[tuple[int, ...]]:
        """The shapes of what goes in: both operands, and for gradients that by the result."""
        return list(self._shapes.values())[: 1 + self.maps]

    @property
    def _values_read(self) -> int:
        return sum(map(math.prod, self._read))

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        drawn = [turns(rng, to_host(rng.standard_normal(shape), dtype), math.prod(shape)) for shape in self._read]
        return Inputs((), None, list(zip(*drawn, strict=True)))

    def outputs(self) -> list[Output]:
        *operands, (name, shape) = self._shapes.items()
        return outputs_of({name: shape} if self.maps == 1 else {f"grad_{name}": shape for name, shape in operands})


@dataclass(frozen=True)
class _Product(BilinearMap):
    """(m, k) · (k, n); of a model, the heaviest layer of its generator: m is the batch, k goes in, n comes out.

    Of a convolution it is the product of all windows with the weight.
    """

    m: int
    k: int
    n: int

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        layer = max(spec.generator_layers, key=lambda layer: layer.usual_flops(1))
        m, k, n, *_ = layer.forward_product(spec.batch)
        return cls(m, k, n)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (self.m, self.k), "b": (self.k, self.n), "c": (self.m, self.n)}

    @property
    def flops(self) -> int:
        return self.maps * 2 * self.m * self.k * self.n


class Matmul(_Product):
    """``c = a b``."""

    name = "matmul"

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.matmul(*batch),)


class MatmulGrad(_Product):
    """``grad_a = grad bᵀ`` and ``grad_b = aᵀ grad``."""

    name = "matmul_grad"
    maps = 2

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.matmul_grad(*batch)


@dataclass(frozen=True)
class _Normalisation(OfSizes):
    """``batch`` rows of ``features``; of a model, its generator's widest hidden layer, or the output without one.

    Each pixel of an image is a row.
    """

    batch: int
    features: int
    minimum_batch = 3  # with two rows every output is ±1 and every gradient vanishes
    with_grad: ClassVar[bool]  # whether ∂L/∂y goes in as well

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        *hidden, last = weighted(spec.generator_layers)
        layer = max(hidden or [last], key=lambda layer: layer.channels * layer.pixels)
        return cls(spec.batch * layer.pixels, layer.channels)

    @property
    def _values_read(self) -> int:
        return (1 + self.with_grad) * self.batch * self.features + 2 * self.features

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng, wide = np.random.default_rng(seed), accumulation_dtype(dtype)
        batch, n = self.batch, self.features
        x = to_host(2 * rng.standard_normal((batch, n)) + 0.5, dtype)
        drawn = [x, rng.uniform(0.5, 1.5, n).astype(wide), rng.standard_normal(n).astype(wide)]  # with gamma and beta
        if self.with_grad:
            drawn.append(to_host(rng.standard_normal((batch, n)), dtype))
        return Inputs((), None, turns(rng, tuple(drawn), self._values_read))

    @property
    def _kept_read(self) -> int:
        return 2 * self.features  # gamma and beta


class BatchNorm(_Normalisation):
    """Batch norm in training mode, over the batch axis."""

    name = "batch_norm"
    with_grad = False

    @property
    def flops(self) -> int:
        return 6 * self.batch * self.features  # mean 1, var 3 with the difference kept, scale and shift 2

    def outputs(self) -> list[Output]:
        n = self.features
        return outputs_of({"y": (self.batch, n), "mean": (n,), "var": (n,)}, kept=("mean", "var"))

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta = batch
        return state, backend.batch_norm(x, gamma, beta, BATCH_NORM_EPS)


class BatchNormGrad(_Normalisation):
    """The exact gradient of batch norm, statistics recomputed from x."""

    name = "batch_norm_grad"
    with_grad = True

    @property
    def flops(self) -> int:
        return 11 * self.batch * self.features  # mean and var 4, the sums of grad and of grad·x̂ 3, grad_x 4

    def outputs(self) -> list[Output]:
        n = self.features
        named = {"grad_x": (self.batch, n), "grad_gamma": (n,), "grad_beta": (n,)}
        return outputs_of(named, kept=("grad_gamma", "grad_beta"))

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta, grad = batch
        return state, backend.batch_norm_grad(x, gamma, beta, BATCH_NORM_EPS, grad)
