"""Operations of one layer: its product, batch norm, and their gradients."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from ..array_ops import ArrayOps
from ..gan import BATCH_NORM_EPS
from ..operation import Inputs, Operation, Output, outputs_of
from ..precision import accumulation_dtype
from .rounding import to_host


class _Product(Operation):
    """Shapes of the heaviest generator layer: (B, n_in) · (n_in, n_out)."""

    @property
    def shape(self) -> tuple[int, ...]:
        layer = max(self.spec.generator_layers, key=lambda layer: layer.n_in * layer.n_out)
        return self.spec.batch, layer.n_in, layer.n_out

    @property
    @abstractmethod
    def _operands(self) -> list[tuple[int, int]]:
        """The shapes of what goes in."""

    @property
    def _values_read(self) -> int:
        return sum(map(math.prod, self._operands))

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        return Inputs(tuple(to_host(rng.standard_normal(shape), dtype) for shape in self._operands), None, [()])


class Matmul(_Product):
    """``c = a b``."""

    name = "matmul"

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.shape)

    @property
    def _operands(self) -> list[tuple[int, int]]:
        m, k, n = self.shape
        return [(m, k), (k, n)]

    def outputs(self) -> list[Output]:
        m, _, n = self.shape
        return outputs_of({"c": (m, n)})

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.matmul(*fixed),)


class MatmulGrad(_Product):
    """``grad_a = grad bᵀ`` and ``grad_b = aᵀ grad``."""

    name = "matmul_grad"

    @property
    def flops(self) -> int:
        return 4 * math.prod(self.shape)

    @property
    def _operands(self) -> list[tuple[int, int]]:
        m, k, n = self.shape
        return [(m, k), (k, n), (m, n)]

    def outputs(self) -> list[Output]:
        m, k, n = self.shape
        return outputs_of({"grad_a": (m, k), "grad_b": (k, n)})

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.matmul_grad(*fixed)


class _Normalisation(Operation):
    """Shapes of the widest hidden generator layer (of the output, where there is no hidden one)."""

    minimum_batch = 3  # with two rows every output is ±1 and every gradient vanishes
    with_grad: ClassVar[bool]  # whether ∂L/∂y goes in as well

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.batch, max(self.spec.generator[1:-1] or self.spec.generator[-1:])

    @property
    def _values_read(self) -> int:
        batch, n = self.shape
        return (1 + self.with_grad) * batch * n + 2 * n

    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        rng = np.random.default_rng(seed)
        batch, n = self.shape
        drawn = [
            to_host(2 * rng.standard_normal((batch, n)) + 0.5, dtype),
            rng.uniform(0.5, 1.5, n).astype(accumulation_dtype(dtype)),
            rng.standard_normal(n).astype(accumulation_dtype(dtype)),
        ]
        if self.with_grad:
            drawn.append(to_host(rng.standard_normal((batch, n)), dtype))
        return Inputs(tuple(drawn), None, [()])

    @property
    def _kept_read(self) -> int:
        return 2 * self.shape[1]  # gamma and beta


class BatchNorm(_Normalisation):
    """Batch norm in training mode, over the batch axis."""

    name = "batch_norm"
    with_grad = False

    @property
    def flops(self) -> int:
        return 6 * math.prod(self.shape)  # mean 1, var 3 with the difference kept, scale and shift 2

    def outputs(self) -> list[Output]:
        _, n = self.shape
        return outputs_of({"y": self.shape, "mean": (n,), "var": (n,)}, kept=("mean", "var"))

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta = fixed
        return state, backend.batch_norm(x, gamma, beta, BATCH_NORM_EPS)


class BatchNormGrad(_Normalisation):
    """The exact gradient of batch norm, statistics recomputed from x."""

    name = "batch_norm_grad"
    with_grad = True

    @property
    def flops(self) -> int:
        return 11 * math.prod(self.shape)  # mean and var 4, the sums of grad and of grad·x̂ 3, grad_x 4

    def outputs(self) -> list[Output]:
        _, n = self.shape
        named = {"grad_x": self.shape, "grad_gamma": (n,), "grad_beta": (n,)}
        return outputs_of(named, kept=("grad_gamma", "grad_beta"))

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        x, gamma, beta, grad = fixed
        return state, backend.batch_norm_grad(x, gamma, beta, BATCH_NORM_EPS, grad)
