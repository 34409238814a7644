"""CuPy: the shared mathematics on a CUDA device; here stands only what the device adds."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ganbench.backend import DISPLACING, Array, Program
from ganbench.errors import UnavailableError
from ganbench.operation import Inputs, Operation
from ganbench.precision import require_full, require_tf32

from .array_backend import ArrayBackend
from .captured import CapturedProgram
from .cublas import CublasKernels


class CupyBackend(ArrayBackend):
    """Hand-derived gradients on CuPy arrays, on the device's null stream."""

    name = "cupy"
    modes: ClassVar[dict[str, str]] = {
        "eager": "the NumPy program with cupy for numpy: gradients by hand, one kernel per expression",
        "fused": "the same with @cupy.fuse on activations and Adam: one kernel per formula",
        "graph": "the in-place program, eight iterations captured in one CUDA graph and launched",
    }
    queues = True
    device_kinds = ("cuda",)
    formats = ("float64", "float32", "tf32", "float16")
    module = "cupy"
    distributions = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
    install = 'pip install "ganbench[cuda13]" (or "ganbench[cuda12]" for a CUDA 12 driver)'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        import cupy

        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise UnavailableError(f"CuPy finds no usable CUDA device: {error}") from error
        if self.index >= count:
            raise UnavailableError(f"no CUDA device {self.index}: CuPy sees {count}")
        cupy.cuda.Device(self.index).use()
        if precision == "tf32":
            require_tf32(self.index, int(cupy.cuda.Device(self.index).compute_capability) / 10)
        self.xp = cupy
        if self.mode == "fused":  # each formula becomes one kernel, compiled at its first call
            self._activate = _fused(cupy, "activate", super()._activate)  # type: ignore[method-assign]
            grad, second_grad = super()._activation_grad, super()._activation_second_grad
            self._activation_grad = _fused(cupy, "grad", grad)  # type: ignore[method-assign]
            self._activation_second_grad = _fused(cupy, "second_grad", second_grad)  # type: ignore[method-assign]
            self._adam = cupy.fuse(kernel_name="adam")(super()._adam)  # type: ignore[method-assign]

    @classmethod
    def lacks(cls, device: str, dtype: str, precision: str) -> str:
        return "CuPy has no bfloat16" if dtype == "bfloat16" else super().lacks(device, dtype, precision)

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        return {"CUPY_TF32": "1" if precision == "tf32" else "0", "CUPY_CACHE_DIR": cache}

    def device_peak(self) -> int | None:
        """CuPy's pool gives nothing back of its own accord, so what it holds is its peak."""
        return int(self.xp.get_default_memory_pool().total_bytes())

    def forget_device_peak(self) -> int:
        pool = self.xp.get_default_memory_pool()
        pool.free_all_blocks()  # those in use stay
        return int(pool.total_bytes())

    def event(self) -> Any:
        event = self.xp.cuda.Event()
        event.record()
        return event

    def cache_displacer(self) -> Callable[[], object]:
        size = DISPLACING * self.xp.cuda.Device().attributes["L2CacheSize"]
        memory = self.xp.cuda.alloc(size)
        return lambda: memory.memset_async(0, size)

    def elapsed(self, start: Any, end: Any) -> float:
        return float(self.xp.cuda.get_elapsed_time(start, end)) / 1e3

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(array))

    def synchronize(self, result: Any = None) -> None:
        """Wait for a mark, or else for the stream, which every result of this backend was enqueued on."""
        cuda = self.xp.cuda
        (result if isinstance(result, cuda.Event) else cuda.get_current_stream()).synchronize()

    def mark(self, result: Any) -> Any:
        """An event: whoever waits for the stream waits for later calls, too."""
        return self.event()

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        if self.mode == "graph" and operation.name == "gan_iteration":
            require_full(inputs.batches[0][0].itemsize, "cupy.graph", "cupy")
            dtype, whole = inputs.state.generator.params[0].dtype, operation.spec.n_params
            kernels = CublasKernels(self.xp, dtype, whole, self.precision == "tf32")  # a GPU wants Adam in one piece
            return CapturedProgram(self, kernels, operation, inputs, self._capture)
        return super().prepare(operation, inputs)

    def _capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Run once, so that every buffer and library handle is there, then record on a stream of its own."""
        side = self.xp.cuda.Stream(non_blocking=True)
        self.synchronize()
        with side:
            function()
            side.synchronize()
            side.begin_capture()
            function()
            graph = side.end_capture()
        return graph.launch  # type: ignore[no-any-return]


def _fused(cupy: Any, what: str, activation: Callable[..., Array]) -> Callable[..., Array]:
    """Return ``activation``, whose first argument names a formula, as one fused kernel for each name.

    Not called like the formula: a kernel named ``tanh`` would stand in the way of CUDA's own function.
    """
    kernels: dict[str, Callable[..., Array]] = {}

    def apply(name: str, *arrays: Array) -> Array:
        if name == "identity":
            return arrays[-1]
        if name not in kernels:
            kernels[name] = cupy.fuse(kernel_name=f"{what}_{name}")(functools.partial(activation, name))
        return kernels[name](*arrays)

    return apply
