"""What a worker reports about its own process after the import of its framework."""

import platform
from typing import Any

import numpy as np

from .. import gpus
from ..array_ops import Adam
from ..backend import Backend
from .environment import cpu_model


def denormals(backend: Backend) -> str:
    """Return ``kept`` or ``flushed`` (to zero): how this backend's Adam treats denormal numbers.

    The moments of units without a gradient decay to denormal numbers. If these are kept, each step becomes many times
    slower.
    """
    smallest = float(np.finfo(np.float32).tiny)

    def stage(value: float) -> list[Any]:
        return [backend.from_numpy(np.full(64, value, np.float32))]

    moved = backend.adam_step(Adam(), stage(0.0), stage(0.0), stage(smallest), stage(0.0), 1)
    return "kept" if backend.to_numpy(moved[1][0])[0] > 0 else "flushed"


def blas() -> list[dict[str, Any]]:
    """Return the BLAS and OpenMP libraries of this process, each with its version and threads."""
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "num_threads", "architecture", "threading_layer")
    return [{key: pool[key] for key in keys if pool.get(key)} for pool in threadpool_info()]


def device_name(device: str) -> str:
    """Return the name of a GPU, or of the processor."""
    if device.startswith("cuda"):
        index, names = int(device.partition(":")[2] or 0), gpus.names()
        return names[index] if index < len(names) else device
    return cpu_model() or platform.machine()
