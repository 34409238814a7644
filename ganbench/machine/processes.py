"""The processes below this one: where their threads continue, and what they start themselves.

A worker's own group is stopped while others are timed, but a process in another session goes on. During a run this
process adopts the orphans of its descendants (Linux), so no session, environment or second fork hides a process.
"""

import contextlib
import ctypes
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from ..gpus import told_by

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
OURS: set[int] = set()  # the numbers of the living processes that ganbench itself has started for a run


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Make this process the parent of its descendants' orphans, and of workers that a fork server forks."""
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


class Seen(NamedTuple):
    """What processes used since the last look: ``cores`` and ``names`` of strays, seconds ``below`` each of our own.

    A process in the group of a worker is stopped with it, so it is no stray: it uses only the time of its visits.
    """

    cores: float
    names: list[str]
    below: dict[int, float]


class Strays:
    """Descendants of this process that were started after this object was made."""

    def __init__(self) -> None:
        self._before = set(_descendants())
        self._last: dict[psutil.Process, float] = {}
        self._below: dict[int, float] = {}
        self._since = time.monotonic()

    def look(self) -> Seen:
        """Return what the processes other than ``OURS`` used since the last look."""
        since, last, below = self._since, self._last, self._below
        self._since, self._last, self._below = time.monotonic(), {}, dict.fromkeys(OURS, 0.0)
        busy: dict[str, float] = {}
        parents = _parents(descendants := _descendants())
        for one in descendants:
            with contextlib.suppress(psutil.Error, OSError):
                times = one.cpu_times()
                used, of_ended = times.user + times.system, times.children_user + times.children_system
                if one.pid in OURS:
                    self._below[one.pid] += of_ended
                    continue
                group = os.getpgid(one.pid) if hasattr(os, "getpgid") else 0
                above = group if group in OURS else one.pid
                while above in parents and above not in OURS:
                    above = parents[above]
                if above in OURS:
                    self._below[above] += used + of_ended
                if group not in OURS and one not in self._before:
                    self._last[one] = used
                    busy[one.name()] = busy.get(one.name(), 0.0) + used - last.get(one, 0.0)
        names = sorted(name for name, seconds in busy.items() if seconds)
        took = {pid: max(0.0, seconds - below.get(pid, 0.0)) for pid, seconds in self._below.items()}
        return Seen(sum(busy.values()) / max(self._since - since, 1e-3), names, took)

    def kill(self) -> None:
        """Kill all of them except ``OURS``, and wait until they are gone."""
        kill_all([one for one in _descendants() if one.pid not in OURS and one not in self._before])


def kill_all(processes: Collection[psutil.Process]) -> None:
    """Kill processes, and wait a second for their end."""
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(processes, timeout=1)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _parents(processes: Collection[psutil.Process]) -> dict[int, int]:
    found = {}
    for one in processes:
        with contextlib.suppress(psutil.Error):
            found[one.pid] = one.ppid()
    return found


class OtherWork:
    """What others do on the processors ``cpus`` (none: on all) from now on: other programs, and the host (steal)."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._cpus = cpus
        self._began, self._taken = time.monotonic(), self._seconds()

    def share(self) -> float | None:
        """Return the share of the processors' time that they took; None where the system does not tell."""
        if sys.platform == "win32":  # it forgets the time of children that have ended
            return None
        wall = (time.monotonic() - self._began) * (len(self._cpus) or psutil.cpu_count() or 1)
        return max(0.0, self._seconds() - self._taken) / max(wall, 1e-3)

    def _seconds(self) -> float:
        """Return how long the processors have worked, but not for this process and its descendants."""
        times = _times_by_cpu()
        chosen = [times[cpu] for cpu in self._cpus if cpu in times] or [*times.values()]
        # Time of guests is counted as that of users, too.
        resting = ("idle", "iowait", "guest", "guest_nice")
        worked: float = sum(sum(one) - sum(getattr(one, name, 0.0) for name in resting) for one in chosen)
        own = sum(os.times()[:4])  # of its children that have ended, too
        for one in _descendants():
            with contextlib.suppress(psutil.Error):
                own += sum(one.cpu_times()[:4])
        return worked - own


def _times_by_cpu() -> dict[int, Any]:
    """Return the times of each processor by its number; psutil lists them without those that are switched off."""
    times = psutil.cpu_times(percpu=True)
    numbers = [int(number) for number in re.findall(r"^cpu(\d+)", told_by("/proc/stat"), re.MULTILINE)]
    return dict(zip(numbers if len(numbers) == len(times) else range(len(times)), times, strict=True))


@contextlib.contextmanager
def spread_threads(process: int, cpu: int | None) -> Iterator[None]:
    """Inside this context the main thread of ``process`` runs only on ``cpu``, its other threads only on others.

    With None nothing is changed.

    Linux may wake several threads on the same processor. If they wait for one another by spinning, each spins for its
    whole time slice of some milliseconds, although the other thread could run on another processor.
    """
    if cpu is None:
        yield
        return
    allowed: dict[int, set[int]] = {}
    for thread in _threads(process):
        with contextlib.suppress(OSError):  # the thread has ended
            allowed[thread] = os.sched_getaffinity(thread)
            here = {cpu} if thread == process else allowed[thread] - {cpu}
            if here & allowed[thread]:
                os.sched_setaffinity(thread, here & allowed[thread])
    try:
        yield
    finally:
        for thread, processors in allowed.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, processors)


def _threads(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{process}/task").iterdir()]
    return [process]
