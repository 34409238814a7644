"""The disturbance of a visit: what else happened meanwhile. It is recorded, and no visit is dropped because of it."""

import contextlib
import os
import time

import psutil

from .. import gpus
from ..results.records import Disturbance

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class Watch:
    """Watches the machine from its construction to ``stop``; reads nothing in between."""

    def __init__(self, device: str = "cpu") -> None:
        self._clocks = gpus.clocks(device)
        self._start, self._steal, self._switches = time.perf_counter(), _steal(), _switches()

    def stop(self) -> Disturbance:
        """Return what happened since the start; unknown values are None. A GPU must still be busy at this moment."""
        clocks = self._clocks()
        wall = time.perf_counter() - self._start
        steal, switches = _steal(), _switches()
        return Disturbance(
            steal=None if steal is None or self._steal is None else max(0.0, steal - self._steal) / wall,
            switches=None if switches is None or self._switches is None else switches - self._switches,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            sm_mhz=clocks.sm_mhz,
            throttle=list(clocks.throttle),
        )


def _steal() -> float | None:
    """Return the seconds of processor time that the host has taken from this virtual machine, of all cores."""
    with contextlib.suppress(OSError, RuntimeError):
        taken = getattr(psutil.cpu_times(), "steal", None)
        return None if taken is None else float(taken)
    return None


def _switches() -> int | None:
    """Return how often this process was taken off a processor against its will."""
    return None if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)
