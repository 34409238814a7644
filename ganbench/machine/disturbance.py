"""What else happened while a block was timed. It is recorded with the block; no block is dropped because of it."""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import psutil

from ..results.records import Disturbance

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Bits of nvmlDeviceGetCurrentClocksEventReasons (NVML reference, nvmlClocksEventReasons), less those that
# say that the clocks are as high as they were asked to be.
THROTTLE = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


class Watch:
    """Watches the machine from its construction to ``stop``; reads nothing in between."""

    def __init__(self, device: str = "cpu") -> None:
        self._clocks = _gpu_clocks(device)
        self._start, self._steal, self._switches = time.perf_counter(), _steal(), _switches()

    def stop(self) -> Disturbance:
        """Return what happened since; what this system does not tell is None."""
        wall = time.perf_counter() - self._start
        steal, switches = _steal(), _switches()
        sm_mhz, throttle = self._clocks()
        return Disturbance(
            steal=None if steal is None or self._steal is None else max(0.0, steal - self._steal) / wall,
            switches=None if switches is None or self._switches is None else switches - self._switches,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            sm_mhz=sm_mhz,
            throttle=throttle,
        )


def _steal() -> float | None:
    """Return the seconds of processor time that the host of a virtual machine has taken, all cores together."""
    with contextlib.suppress(OSError, RuntimeError):
        taken = getattr(psutil.cpu_times(), "steal", None)
        return None if taken is None else float(taken)
    return None


def _switches() -> int | None:
    """Return how often this process was taken off a processor against its will."""
    return None if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


def _gpu_clocks(device: str) -> Callable[[], tuple[int | None, list[str]]]:
    """Return a function that gives the clock (MHz) of a GPU's multiprocessors and why it is throttled."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        with contextlib.suppress(ImportError):
            import pynvml

            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                handle = pynvml.nvmlDeviceGetHandleByIndex(int(index or 0))
                return lambda: _read_clocks(pynvml, handle)
    return lambda: (None, [])


def _read_clocks(nvml: Any, handle: Any) -> tuple[int | None, list[str]]:
    try:
        clock = int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        reasons = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    except nvml.NVMLError:
        return None, []
    return clock, [name for bit, name in THROTTLE.items() if reasons & bit]
