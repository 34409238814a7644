"""A module that passes for CuPy, on NumPy: arrays have addresses, cuBLAS multiplies what lies at them."""

import ctypes
import importlib.util
import types

import numpy as np

OF_CUDA = {"tanh", "sqrt", "exp"}  # kernels that bear such a name do not compile


class CudaRuntimeError(RuntimeError):
    """What CuPy raises where there is no driver."""


class OnDevice(np.ndarray):
    """An array with its address where CuPy has it."""

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


class Cublas:
    """The functions that are called, with arguments as the real ones take them; matrices lie in columns."""

    def cublasSetStream_v2(self, handle, stream):  # noqa: N802 (cuBLAS's own names)
        return 0

    def cublasSetWorkspace_v2(self, handle, workspace, size):  # noqa: N802
        return 0

    def cublasGemmEx(  # noqa: N802
        self, handle, flip_a, flip_b, m, n, k, alpha, a, type_a, lda, b, type_b, ldb, beta, c, type_c, ldc, compute, how
    ):
        left = _lines(a, type_a, m if flip_a else k, lda, k if flip_a else m)
        right = _lines(b, type_b, k if flip_b else n, ldb, n if flip_b else k)
        product = (left if flip_a else left.T) @ (right if flip_b else right.T)
        _lines(c, type_c, n, ldc, m)[...] = product.T
        return 0


def _lines(pointer, kind, number, distance, length):
    """Return the columns of a matrix as rows."""
    number_type = {0: ctypes.c_float, 1: ctypes.c_double}[kind]
    memory = ctypes.cast(pointer, ctypes.POINTER(number_type))
    return np.ctypeslib.as_array(memory, (number, distance))[:, :length]


def fuse(*functions, kernel_name=None):
    """As CuPy does: the kernel takes the name of the function, which must have one, or the one that is given."""

    def checked(function):
        assert (kernel_name or function.__name__) not in OF_CUDA
        return function

    return checked(*functions) if functions else checked


def _on_device(make):
    return lambda *args, **kwargs: make(*args, **kwargs).view(OnDevice)


def cupy_on_numpy(devices=2, used=None, synchronised=None):
    """Return the module, with ``devices`` devices; it notes what is done to it."""

    def count():
        if not devices:
            raise CudaRuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return devices

    stream = types.SimpleNamespace(ptr=0, synchronize=lambda: synchronised is None or synchronised.append(True))
    module = types.ModuleType("cupy")
    module.__spec__ = importlib.util.spec_from_loader("cupy", loader=None)
    module.__getattr__ = lambda name: getattr(np, name)
    for make in (np.array, np.asarray, np.empty, np.full, np.ones, np.zeros):
        setattr(module, make.__name__, _on_device(make))
    module.asnumpy = np.array
    module.fuse = fuse
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CudaRuntimeError),
        Device=lambda index: types.SimpleNamespace(use=lambda: used is None or used.append(index)),
        device=types.SimpleNamespace(get_cublas_handle=lambda: 1),
        get_current_stream=lambda: stream,
        Event=type("Event", (), {}),
    )
    return module
