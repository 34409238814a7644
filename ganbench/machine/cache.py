"""The caches of the processor: the size of the last level, and how to displace their content."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..backend import DISPLACING

UNKNOWN_CACHE = 2**26


def last_level_cache() -> int:
    """Return the bytes of the last-level cache of the first core, or a guess if the system does not report it."""
    found: list[int] = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"(\d+)([KM]?)", path.read_text().strip()):
                found.append(int(match[1]) * {"": 1, "K": 2**10, "M": 2**20}[match[2]])
    return max(found, default=UNKNOWN_CACHE)


def displacer(times: float = DISPLACING) -> Callable[[], object]:
    """Return a function that displaces the content of its core's caches: it changes a larger array."""
    array = np.ones(int(times * last_level_cache()) // 8)  # zeros would only be allocated when they are changed
    return lambda: np.add(array, 1.0, out=array)  # not ``fill``, which may write past the caches
