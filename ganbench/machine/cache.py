"""The caches of the processor: how large the last of them is, and how to displace what lies in them."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from ..backend import DISPLACING
from .placement import apart

UNKNOWN_CACHE = 2**26


def last_level_cache() -> int:
    """Return the bytes of the last-level cache of the first core, or a guess where the system does not tell."""
    found: list[int] = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"(\d+)([KM]?)", path.read_text().strip()):
                found.append(int(match[1]) * {"": 1, "K": 2**10, "M": 2**20}[match[2]])
    return max(found, default=UNKNOWN_CACHE)


def displacer(times: float = DISPLACING) -> Callable[[], None]:
    """Return what displaces all that lies in the caches of the processors that this process may use.

    Each core has caches of its own, so the main thread goes from core to core and changes a large array on each, the
    process's other threads elsewhere; it ends where it began. Where threads cannot be pinned it stays on one.
    """
    array = np.ones(int(times * last_level_cache()) // 8)  # ones, or its memory would only be taken when it is changed

    def change() -> None:
        np.add(array, 1.0, out=array)  # not ``fill``, which may write past the caches

    def displace() -> None:
        here = psutil.Process().cpu_num()
        for cpu in sorted(os.sched_getaffinity(0), key=lambda cpu: cpu == here):
            with apart(os.getpid(), cpu):
                change()

    return displace if hasattr(os, "sched_setaffinity") else change
