"""The memory of a case, on the host and on its device; it is read before and after the timing, never during it.

Linux can reset the peak of a process's resident memory, so each stage of a case has its own peak. On other systems a
process has one peak for its whole life. If that did not rise, the memory at the end of the stage is reported, a lower
bound. Linux counts pages in batches, so numbers are accurate to some hundred kB for each core.
"""

import contextlib
import re
import sys
from pathlib import Path

import psutil

from ..backend import Backend

PROCESS = Path("/proc/self")


def resident() -> int:
    """Return the bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def forget_peak() -> bool:
    """Reset the peak of this process's resident memory; return whether the system can do that."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak() -> int | None:
    """Return the peak of this process's resident memory since the last reset, in bytes; None if unknown."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", (PROCESS / "status").read_text()):
            return int(found[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    try:
        import resource
    except ImportError:
        return None
    kilobyte = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte


class Stage:
    """The resident memory of this process from now on."""

    def __init__(self) -> None:
        forget_peak()
        self._before, self._start = peak(), resident()

    def held(self) -> int:
        """Return resident memory now minus that at the start, in bytes."""
        return resident() - self._start

    def rise(self) -> int | None:
        """Return the peak above the start, in bytes; None if no peak is known."""
        highest, now = peak(), resident()
        if highest is None or self._before is None:
            return None
        return max(0, now, highest if highest > self._before else 0) - self._start


class CaseMemory:
    """The memory of one case above what its process held before it, inputs included.

    The memory of the gate, between the first run and the warm-up, belongs to the harness and is left out.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._device = backend.forget_device_peak()
        self._stage = Stage()
        self._first: int | None = None
        self._held = 0

    def prepared(self) -> None:
        """Note that the program is prepared and has run once."""
        self._first, self._held = self._stage.rise(), self._stage.held()

    def warming(self) -> None:
        """Note that the warm-up begins."""
        self._stage = Stage()

    def peaks(self) -> tuple[int | None, int | None]:
        """Return the peaks on the host and on the device after the warm-up, in bytes; None if unknown."""
        later = self._stage.rise()
        host = None if self._first is None or later is None else max(0, self._first, self._held + later)
        device = self._backend.device_peak()
        return host, None if device is None else device - self._device
