"""The caches of the processor: how large the last of them is, and how to displace what lies in them."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..backend import DISPLACING

UNKNOWN_CACHE = 2**26


def last_level_cache() -> int:
    """Return the bytes of the last-level cache of the first core, or a guess where the system does not tell."""
    found: list[int] = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"(\d+)([KM]?)", path.read_text().strip()):
                found.append(int(match[1]) * {"": 1, "K": 2**10, "M": 2**20}[match[2]])
    return max(found, default=UNKNOWN_CACHE)


def displacer(times: float = DISPLACING) -> Callable[[], object]:
    """Return what displaces all that lies in the caches of the core that it runs on: it changes a larger array."""
    array = np.ones(int(times * last_level_cache()) // 8)  # ones, or its memory would only be taken when it is changed
    return lambda: np.add(array, 1.0, out=array)  # not ``fill``, which may write past the caches
