"""NumPy: the shared mathematics on the host. NumPy returns when it is done, so there is nothing to wait for."""

from typing import Any, ClassVar

import numpy as np

from ganbench.backend import Array

from .array_backend import ArrayBackend


class NumpyBackend(ArrayBackend):
    """Hand-derived gradients on NumPy arrays."""

    name = "numpy"
    modes: ClassVar[dict[str, str]] = {
        "plain": "gradients by hand, one expression per formula, Adam in place",
    }
    device_kinds = ("cpu",)
    module = "numpy"
    distributions = ("numpy",)
    install = "pip install numpy"

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        self.xp = np

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array)

    def synchronize(self, result: Any = None) -> None:
        """Return at once: a NumPy call has finished when it returns."""
