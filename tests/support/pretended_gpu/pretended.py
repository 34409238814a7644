"""Three frameworks for a GPU, all of them NumPy under another name; the third is not installed."""

import time
from typing import ClassVar

from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.machine import energy
from ganbench.measure import ceilings

ceilings.SUM_BYTES, ceilings.WIDEST = 3 * 2**20, 256  # those of a real GPU would take longer here than all the rest
energy.LEAST_S = 0.1


class First(NumpyBackend):
    name = "first"
    modes: ClassVar[dict[str, str]] = {"plain": NumpyBackend.modes["plain"]}
    device_kinds = ("cuda",)
    distributions = ("pretended",)

    def event(self):
        return time.perf_counter()

    def elapsed(self, start, end):
        return end - start


class Second(First):
    name = "second"


class Third(First):
    name = "third"
    module = "a_framework_that_is_not_here"
    install = "pip install third"
