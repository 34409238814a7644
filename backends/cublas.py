"""Products by cuBLAS itself, which may be captured: CuPy refuses to call it while a graph is recorded (cupy#6290)."""

import ctypes
from pathlib import Path
from typing import Any

from ganbench.backend import Array
from ganbench.errors import UnsupportedError

from .array_inplace import ArrayKernels

# Of cublasComputeType_t and cudaDataType, from CUDA's library_types.h and cublas_api.h.
FORMATS = {"float32": (0, 68, ctypes.c_float), "float64": (1, 70, ctypes.c_double)}
TF32 = 77  # CUBLAS_COMPUTE_32F_FAST_TF32
DEFAULT_ALGORITHM = -1
WORKSPACE = 32 * 2**20  # bytes: what cuBLAS recommends for Hopper, and more than it asks for elsewhere


class CublasKernels(ArrayKernels):
    """The kernels of CuPy, with products that neither allocate nor wait, on whatever stream is current."""

    def __init__(self, cupy: Any, dtype: Any, piece: int, tf32: bool) -> None:
        super().__init__(cupy, dtype, piece)
        self._type, self._compute, self._number = FORMATS[str(dtype)]
        if tf32:
            self._compute = TF32
        self._handle = ctypes.c_void_p(cupy.cuda.device.get_cublas_handle())
        self._library = _loaded()
        # Of our own, because what cuBLAS allocates for itself is not part of the graph.
        self._workspace = cupy.empty(WORKSPACE, "uint8")

    def product(self, a: Array, b: Array, out: Array) -> None:
        """``out = a b``. In rows as here, cuBLAS's columns are ``outᵀ = bᵀ aᵀ``."""
        (rows, inner), columns = a.shape, b.shape[1]
        one, zero = self._number(1), self._number(0)
        library, pointer = self._library, ctypes.c_void_p
        stream = self.xp.cuda.get_current_stream().ptr
        _check(library.cublasSetStream_v2(self._handle, pointer(stream)))  # which takes the workspace away
        workspace = pointer(self._workspace.data.ptr)
        _check(library.cublasSetWorkspace_v2(self._handle, workspace, ctypes.c_size_t(WORKSPACE)))
        (flip_b, step_b), (flip_a, step_a) = _layout(b), _layout(a)
        kind = self._type
        _check(
            library.cublasGemmEx(
                self._handle, flip_b, flip_a, columns, rows, inner,
                ctypes.byref(one), pointer(b.data.ptr), kind, step_b, pointer(a.data.ptr), kind, step_a,
                ctypes.byref(zero), pointer(out.data.ptr), kind, columns, self._compute, DEFAULT_ALGORITHM,
            )
        )  # fmt: skip

    def column_sums(self, x: Array, out: Array) -> None:
        self.product(self._row(len(x), 1)[None], x, out[None])


def _layout(array: Array) -> tuple[int, int]:
    """Return whether cuBLAS must transpose a matrix (it reads columns), and the distance of its lines."""
    if array.flags.c_contiguous:
        return 0, array.shape[1]
    return 1, array.shape[0]  # the transpose of one that is contiguous


def _loaded() -> Any:
    """Return the cuBLAS that CuPy has loaded; raises ``UnsupportedError`` where none can be found."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "libcublas.so" in line}  # a path may have spaces
    if not paths:
        raise UnsupportedError("cupy.graph needs cuBLAS as a library of its own, and finds none loaded: use cupy")
    return ctypes.CDLL(min(paths))


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuBLAS failed with status {status}")
