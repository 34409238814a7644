"""CuPy: the shared mathematics on a CUDA device; here stands only what the device adds."""

from typing import Any, ClassVar

import numpy as np

from ganbench.backend import Array
from ganbench.errors import UnavailableError

from .array_backend import ArrayBackend


class CupyBackend(ArrayBackend):
    """Hand-derived gradients on CuPy arrays, on the device's null stream."""

    name = "cupy"
    modes: ClassVar[dict[str, str]] = {
        "eager": "the NumPy program with cupy for numpy: gradients by hand, one kernel per expression",
        "fused": "the same with @cupy.fuse on activations and Adam: one kernel per formula",
        "graph": "the in-place program, eight iterations captured in one CUDA graph and launched",
    }
    device_kinds = ("cuda",)
    module = "cupy"
    distributions = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
    install = 'pip install "ganbench[cuda13]" (or "ganbench[cuda12]" for a CUDA 12 driver)'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        self.require()
        import cupy

        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise UnavailableError(f"CuPy finds no usable CUDA device: {error}") from error
        index = int(self.device.partition(":")[2] or 0)
        if index >= count:
            raise UnavailableError(f"no CUDA device {index}: CuPy sees {count}")
        cupy.cuda.Device(index).use()
        self.xp = cupy

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        return {"CUPY_TF32": "1" if precision == "tf32" else "0", "CUPY_CACHE_DIR": cache}

    def device_peak(self) -> int | None:
        """CuPy's pool never gives back what it once took, so what it holds is its peak."""
        return int(self.xp.get_default_memory_pool().total_bytes())

    def event(self) -> Any:
        event = self.xp.cuda.Event()
        event.record()
        return event

    def elapsed(self, start: Any, end: Any) -> float:
        return float(self.xp.cuda.get_elapsed_time(start, end)) / 1e3

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(array))

    def synchronize(self, result: Any = None) -> None:
        """Wait for the stream, which every result of this backend was enqueued on."""
        self.xp.cuda.get_current_stream().synchronize()
