"""Processes that a backend starts beside its worker: they are found wherever they went, and what they take is told.

A worker's own group is stopped while others are timed, but a process in a session of its own goes on. While a run lasts
we adopt whatever our descendants leave behind (Linux), so that no session, environment or second fork hides it.
"""

import contextlib
import ctypes
import sys
import time
from collections.abc import Collection, Iterator

import psutil

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Be the parent of what our descendants leave behind, also of workers that a template forks."""
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, before.value)


class Strays:
    """Watches descendants of ours, but not those that were there before, from one look to the next."""

    def __init__(self) -> None:
        self._before = set(_descendants())
        self._last: dict[psutil.Process, float] = {}
        self._since = time.monotonic()

    def look(self, own: Collection[int]) -> tuple[float, list[str]]:
        """Return how many cores others than ``own`` took since the last look, and the names of those."""
        since, last = self._since, self._last
        self._since, self._last = time.monotonic(), {}
        busy: dict[str, float] = {}
        for one in _descendants():
            if one.pid not in own and one not in self._before:
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    self._last[one] = times.user + times.system
                    took = self._last[one] - last.get(one, 0.0)
                    busy[one.name()] = busy.get(one.name(), 0.0) + took
        names = sorted(name for name, seconds in busy.items() if seconds)
        return sum(busy.values()) / max(self._since - since, 1e-3), names

    def kill(self, own: Collection[int]) -> None:
        """Kill all that were found but ``own``, and wait until they are gone."""
        found = [one for one in _descendants() if one.pid not in own and one not in self._before]
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=1)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)
