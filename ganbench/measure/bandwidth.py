"""The memory bandwidth of the processor itself, by size: one process on each core changes an array of its own.

NumPy's ``negative`` reads the array and writes it in place. STREAM's triad writes to a third array, which most
processors read from memory before they write to it. That read is not counted, so a program that changes its state in
place, as Adam does, may reach more than twice the bandwidth of a triad. The cores run processes and not threads: with
threads, Python's lock would limit the speed of arrays that fit into a cache. The largest array is four times all
last-level caches of these cores, so that it measures memory. The smaller sizes measure the caches, which matter for
small operations. Each process is ``python -m ganbench.measure.bandwidth``.
"""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from itertools import count, takewhile
from typing import Literal

import msgspec
import numpy as np
import psutil

from ..machine.environment import last_level_cache
from ..results.records import Ceiling
from .child import ChildJob, begin
from .process import Child, WorkerLostError, child_environment

SMALLEST = 2**18  # bytes that all cores together read and write in one pass; of each further size twice as many
BLOCK_S, BLOCKS = 0.01, 5
TIMEOUT_S = 60.0

# Make an array, which is changed with so many bytes read and written. Once every core has one, the second task is that.
Task = tuple[Literal["stage", "change"], int]
_decoder: msgspec.json.Decoder[float] = msgspec.json.Decoder(float)


def measure_bandwidth(cpus: Sequence[int], cores: int) -> list[Ceiling]:
    """Return bytes/s of ``cores`` processes together, for each size; pinned to ``cpus``, if any are given.

    Sizes that do not fit into this machine's memory are left out. If a process is lost, so are the sizes after it.
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
            for size in _sizes(cpus[:cores] or (0,)):
                repeats = []
                for _ in range(BLOCKS):
                    _tell(children, ("stage", size // cores))
                    repeats.append(Ceiling("bandwidth", size, sum(_tell(children, ("change", size // cores)))))
                found.append(Ceiling.best_of(repeats))
    return found


def _tell(children: Sequence[Child], task: Task) -> list[float]:
    """Give all cores the same task at once; return what each answers."""
    for child in children:
        child.send(msgspec.json.encode(task))
    return [child.receive(f"{task[0]} arrays", _decoder) for child in children]


def _sizes(cpus: Sequence[int]) -> list[int]:
    largest = 2 * 4 * last_level_cache(cpus)
    sizes = [*takewhile(lambda size: size < largest, (SMALLEST << step for step in count())), largest]
    return [size for size in sizes if size / 2 < psutil.virtual_memory().available / 2]


def main() -> None:
    _, send = begin(ChildJob)
    staged, array = 0, np.ones(0, np.float32)
    for line in sys.stdin.buffer:
        do, size = msgspec.json.decode(line, type=Task)
        if size != staged:
            staged, array = size, np.ones(size // 8, np.float32)
        send(_rate(array) if do == "change" else 0.0)


def _rate(array: np.ndarray) -> float:
    """Return bytes/s over one block: the array is read and written in every call."""
    np.negative(array, out=array)
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < BLOCK_S:
        for _ in range(8 if array.nbytes < 2**20 else 1):
            np.negative(array, out=array)
            calls += 1
        elapsed = time.perf_counter() - start
    return calls * 2 * array.nbytes / elapsed


if __name__ == "__main__":
    main()
