"""The memory bandwidth of the processor itself, by size of the arrays: one process on each core adds its own arrays.

NumPy's ``add`` reads two arrays and writes one, as STREAM's triad does. The cores run processes and not threads:
with threads, Python's lock would limit the speed of arrays that fit into a cache. The largest size is four times the
last-level cache, so that it measures memory. The smaller sizes measure the caches, which matter for small operations.
Each process is ``python -m ganbench.measure.bandwidth``.
"""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import psutil

from ..machine.environment import last_level_cache
from ..results.records import Ceiling
from .child import ChildJob, begin
from .process import Child, WorkerLostError, child_environment

SIZES = (2**18, 2**20, 2**22, 2**24, 2**26)  # bytes of all arrays of all cores together
BLOCK_S, BLOCKS = 0.01, 5
TIMEOUT_S = 60.0

# Make arrays of so many bytes in total. Once every core has made its arrays, the second task is to add them.
Task = tuple[Literal["stage", "add"], int]
_decoder: msgspec.json.Decoder[float] = msgspec.json.Decoder(float)


def measure_bandwidth(cpus: Sequence[int], cores: int) -> list[Ceiling]:
    """Return bytes/s of ``cores`` processes together, for each size; pinned to ``cpus``, if any are given.

    Sizes that do not fit into this machine's memory are left out. If a process is lost, the result is empty.
    """
    found = []
    with contextlib.ExitStack() as stack:
        children = []
        for core in range(cores):
            job = ChildJob(parent=os.getpid(), cpus=[cpus[core]] if cpus else [])
            child = Child("ganbench.measure.bandwidth", job, child_environment({}, 1), TIMEOUT_S)
            stack.callback(child.stop)
            children.append(child)
        with contextlib.suppress(WorkerLostError):
            for size in _sizes():
                rates = []
                for _ in range(BLOCKS):
                    _tell(children, ("stage", size // cores))
                    rates.append(sum(_tell(children, ("add", size // cores))))
                found.append(Ceiling("bandwidth", size, max(rates)))
    return found


def _tell(children: Sequence[Child], task: Task) -> list[float]:
    """Give all cores the same task at once; return what each answers."""
    for child in children:
        child.send(msgspec.json.encode(task))
    return [child.receive(f"{task[0]} arrays", _decoder) for child in children]


def _sizes() -> list[int]:
    largest = 4 * last_level_cache()
    sizes = [*(size for size in SIZES if size < largest), largest]
    return [size for size in sizes if size < psutil.virtual_memory().available / 2]


def main() -> None:
    _, send = begin(ChildJob)
    staged, arrays = 0, tuple(np.ones((3, 0), np.float32))
    for line in sys.stdin.buffer:
        do, size = msgspec.json.decode(line, type=Task)
        if size != staged:
            staged, arrays = size, tuple(np.ones((3, size // 12), np.float32))
        send(_rate(*arrays) if do == "add" else 0.0)


def _rate(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Return bytes/s over one block: two arrays read and one written, in every call."""
    np.add(a, b, out=c)
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < BLOCK_S:
        for _ in range(8 if a.nbytes < 2**20 else 1):
            np.add(a, b, out=c)
            calls += 1
        elapsed = time.perf_counter() - start
    return calls * 3 * a.nbytes / elapsed


if __name__ == "__main__":
    main()
