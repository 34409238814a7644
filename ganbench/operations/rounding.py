"""Numbers of every format on the host. NumPy has no bfloat16: such an array is its bits, in uint16."""

from typing import Any

import numpy as np

DROPPED_BITS = {"tf32": 13, "bfloat16": 16}  # of float32's mantissa


def to_host(array: Any, dtype: str) -> np.ndarray:
    """Return ``array`` in ``dtype``, rounded to nearest, ties to even; bfloat16 as its bits in uint16."""
    if dtype == "bfloat16":
        return (_nearest(array, DROPPED_BITS[dtype]).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return np.asarray(array).astype(dtype)


def widened(array: np.ndarray) -> np.ndarray:
    """Return the numbers of a host array in float64."""
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float64)


def dtype_of(array: np.ndarray) -> str:
    """Return the name of a host array's dtype."""
    return "bfloat16" if array.dtype == np.uint16 else str(array.dtype)


def rounded(array: np.ndarray, name: str) -> np.ndarray:
    """Return float64 numbers rounded as ``name`` (``tf32``, ``bfloat16``, ``float16``) takes a product's factor."""
    if name == "float16":
        with np.errstate(over="ignore"):
            return np.asarray(array, np.float16).astype(np.float64)
    return _nearest(array, DROPPED_BITS[name]).astype(np.float64)


def cut(array: np.ndarray, name: str) -> np.ndarray:
    """Return float64 numbers with the bits that ``name`` does not have cut off, as some tensor cores take TF32."""
    return _masked(np.array(array, np.float32, order="C").view(np.uint32), DROPPED_BITS[name]).astype(np.float64)


def _nearest(array: Any, dropped: int) -> np.ndarray:
    """Return float32 numbers whose lowest ``dropped`` bits are rounded away, ties to even; not for NaN."""
    bits = np.array(array, np.float32, order="C").view(np.uint32)
    lowest = (bits >> np.uint32(dropped)) & np.uint32(1)
    bits += np.uint32((1 << (dropped - 1)) - 1) + lowest
    return _masked(bits, dropped)


def _masked(bits: np.ndarray, dropped: int) -> np.ndarray:
    return (bits & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)).view(np.float32)
