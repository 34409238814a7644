"""NumPy: the shared mathematics on the host. NumPy returns when it is done, so there is nothing to wait for."""

from typing import Any, ClassVar

import numpy as np

from ganbench.backend import Array, BoundProgram, Program
from ganbench.operation import Inputs, Operation
from ganbench.precision import require_full

from .array_backend import ArrayBackend
from .array_inplace import ArrayKernels, ConvolutionKernels
from .inplace_program import InPlaceProgram

ADAM_PIECE = 1 << 15  # values: four buffers and a scratch of 128 KiB each stay in a second-level cache of 1 MiB


class NumpyBackend(ArrayBackend):
    """Hand-derived gradients on NumPy arrays."""

    name = "numpy"
    modes: ClassVar[dict[str, str]] = {
        "plain": "gradients by hand, one expression per formula, Adam in place",
        "inplace": "the same with out= everywhere, one batch for D, Adam on flat buffers in cache-sized pieces",
    }
    device_kinds = ("cpu",)
    formats = ("float64", "float32", "float16")
    queues = True
    forks = True
    module = "numpy"
    distributions = ("numpy",)
    install = "pip install numpy"

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        self.xp = np

    @classmethod
    def lacks(cls, device: str, dtype: str, precision: str) -> str:
        return "NumPy has no bfloat16" if dtype == "bfloat16" else super().lacks(device, dtype, precision)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def _column_sums(self, x: Array, dtype: Any) -> Array:
        """By BLAS, which sums in blocks: NumPy adds row to row, and over the pixels of a batch float32 loses digits."""
        return x.sum(0, dtype=dtype) if x.dtype == np.float16 else np.ones(len(x), x.dtype) @ x

    def synchronize(self, result: Any = None) -> None:
        """Return at once: a NumPy call has finished when it returns."""

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        if self.mode == "inplace" and operation.name == "gan_iteration":
            require_full(inputs.batches[0][0].itemsize, "numpy.inplace", "numpy")
            kernels = ArrayKernels(np, inputs.state.generator.params[0].dtype, ADAM_PIECE)
            return InPlaceProgram(self, kernels, operation, inputs)
        if self.mode == "inplace" and operation.name.startswith("conv"):
            alone: Any = ConvolutionKernels(np, inputs.batches[0][0].dtype, ADAM_PIECE)
            return BoundProgram(self, operation, inputs, operation.step(alone))
        return super().prepare(operation, inputs)
