"""MLX: lazy arrays and ``value_and_grad``; one ``mx.eval`` an iteration computes what was noted, as its manual says.

Images have their channels last, and so have the weights of convolutions, as MLX takes them.
"""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import Arrays, Triple
from ganbench.backend import Array, Program, Step
from ganbench.errors import UnavailableError
from ganbench.gan import LEAKY_SLOPE
from ganbench.layers import Matrices, OnImages, Window
from ganbench.operation import Inputs, Operation

from .functional import Functional, FunctionalProgram


class MlxBackend(Functional):
    """Arrays in the memory that processor and GPU share; nothing is computed before ``synchronize``."""

    name = "mlx"
    modes: ClassVar[dict[str, str]] = {
        "eval": "value_and_grad for D, then for G, and one mx.eval of losses and state an iteration",
        "compile": "the same iteration under mx.compile",
    }
    device_kinds = ("cpu", "gpu")
    formats = ("float64", "float32", "bfloat16", "float16")
    module = "mlx"
    distributions = ("mlx",)
    undone_by: ClassVar[dict[str, tuple[str, ...]]] = {"MLX_DISABLE_COMPILE": ("compile",)}
    install = 'pip install "ganbench[mlx]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        if threads := os.environ.get("OMP_NUM_THREADS"):
            os.environ["MLX_CPU_THREADS"] = threads  # MLX has threads of its own, and reads this once
        import mlx.core

        mx: Any = mlx.core
        self.xp, self.grad, self.maps = mx, mx.grad, MlxMaps(mx)
        self.functions = {
            "relu": lambda x: mx.maximum(x, 0), "leaky_relu": lambda x: mx.maximum(LEAKY_SLOPE * x, x), "tanh": mx.tanh,
            "sigmoid": mx.sigmoid, "identity": lambda x: x, "softplus": lambda x: mx.logaddexp(x, 0),
            "square": mx.square,
        }  # fmt: skip
        if self.device != "cpu" and not mx.metal.is_available():
            raise UnavailableError("MLX sees no GPU of Apple's")
        if self.mode == "compile" and self.device == "cpu" and not shutil.which("g++"):
            raise UnavailableError("mlx.compile needs g++ on a processor: without it, MLX leaves functions as they are")
        mx.set_default_device(mx.cpu if self.device == "cpu" else mx.gpu)

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
        return "" if kind == "cpu" or apple else "it takes a Mac with a processor of Apple's"

    @classmethod
    def lacks(cls, device: str, dtype: str, precision: str) -> str:
        if device != "cpu" and dtype == "float64":
            return "MLX has no float64 on a GPU"
        return super().lacks(device, dtype, precision)

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        """MLX keeps what it has compiled in the folder for temporary files."""
        return {"TMPDIR": cache}

    def libraries(self) -> list[str]:
        """The wheel for Linux brings a BLAS of its own."""
        return [path.name for path in Path(self.xp.__file__).parents[1].glob("mlx_cpu.libs/*blas*")]

    def from_numpy(self, array: np.ndarray) -> Array:
        host = np.array(np.moveaxis(array, 1, -1) if array.ndim == 4 else array, order="C")
        staged = self.xp.array(host, dtype=getattr(self.xp, str(host.dtype)))
        staged = staged.view(self.xp.bfloat16) if host.dtype == np.uint16 else staged  # the bits of a bfloat16
        self.xp.eval(staged)
        return staged

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.array(array.view(self.xp.uint16) if array.dtype == self.xp.bfloat16 else array)
        return np.moveaxis(host, -1, 1) if host.ndim == 4 else host

    def synchronize(self, result: Any = None) -> None:
        """Compute what was noted for ``result``, and wait for it."""
        self.xp.eval(result)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return MlxProgram(self, operation, inputs)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return layer.forward(x, w, self.maps)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        _, (grad_x, grad_w) = self.xp.vjp(lambda x, w: self.convolution(layer, x, w), [x, w], [grad])
        return grad_x, grad_w

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        wide, axes = x.astype(gamma.dtype), [*range(x.ndim - 1)]
        mean = wide.mean(axes)
        centred = wide - mean
        var = self.xp.square(centred).mean(axes)
        return (centred * (gamma * self.xp.rsqrt(var + eps)) + beta).astype(x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        given = [x, gamma, beta]
        _, grads = self.xp.vjp(lambda x, gamma, beta: self.batch_norm(x, gamma, beta, eps)[0], given, [grad])
        return grads[0], grads[1], grads[2]

    def value_and_grad(self, function: Callable[[Any], tuple[Any, ...]], params: Arrays) -> tuple[Any, list[Array]]:
        found: tuple[Any, list[Array]] = self.xp.value_and_grad(function)(list(params))
        return found


class MlxProgram(FunctionalProgram):
    """Under ``mx.compile``, or as the functions are."""

    _backend: MlxBackend

    def __init__(self, backend: MlxBackend, operation: Operation, inputs: Inputs) -> None:
        step = operation.step(backend)
        step = self._compiled(backend, step) if backend.mode == "compile" else step
        super().__init__(backend, operation, inputs, step)

    def _compiled(self, backend: MlxBackend, step: Step) -> Step:
        """What goes into a compiled function and comes out of it has lost the names of its parts."""

        def unnamed(fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
            return step(fixed, _named(self._form, state), batch)

        made: Step = backend.xp.compile(unnamed)
        return made

    def reset(self) -> None:
        super().reset()
        if self._state is None:
            self._state = ()
            self.result = ((), ())
        self._form = self._state

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize(self.result)
        state, results = self.result
        found = self._operation.collect(_named(self._form, state), results)
        return [self._backend.to_numpy(array) for array in found]


def _named(form: Any, tree: Any) -> Any:
    """Return ``tree`` with the named tuples of ``form``."""
    if not isinstance(form, list | tuple):
        return tree
    parts = [_named(*pair) for pair in zip(form, tree, strict=True)]
    if isinstance(form, list):
        return parts
    return type(form)(*parts) if hasattr(form, "_fields") else tuple(parts)


class MlxMaps(Matrices):
    """The maps of ``ganbench.layers.Maps``: images are (B, H, W, C), weights (C of small, kernel, kernel, C of big)."""

    def __init__(self, mx: Any) -> None:
        self._mx = mx

    def conv(self, x: Array, w: Array, window: Window) -> Array:
        return self._mx.conv2d(x, w, stride=window.stride, padding=window.padding)

    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array:
        return self._mx.conv_transpose2d(y, w.swapaxes(0, 3), stride=window.stride, padding=window.padding)

    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array:
        raise NotImplementedError  # MLX differentiates

    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        """A vector has the order C, H, W."""
        rows = (self._mx.moveaxis(x, -1, 1) if len(before) > 1 else x).reshape(-1, *after)
        return self._mx.moveaxis(rows, 1, -1) if len(after) > 1 else rows
