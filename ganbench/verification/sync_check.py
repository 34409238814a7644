"""Whether ``synchronize`` waits: what is left when it returns is done at the first look at the results."""

import mmap
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..backend import Backend, Program

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TRIES = 3  # one stall of the machine must not pass for work
LEAST_S = 20e-6


class Look(NamedTuple):
    """How long a look took, and how many new pages of memory the system gave for it."""

    seconds: float
    pages: int


def unfinished(backend: Backend, program: Program, calls: int, share: float) -> float:
    """Return the seconds of work that are left when ``synchronize`` has returned after so many calls; 0 for none.

    Less than ``share`` of the calls' own time counts as none. Leaves the program reset.
    """
    left = 0.0
    for _ in range(TRIES):
        program.reset()
        backend.synchronize(program.result)
        start = time.perf_counter()
        for _ in range(calls):
            program()
        backend.synchronize(program.result)
        least = max(share * (time.perf_counter() - start), LEAST_S)
        left = beyond(_look(program.outputs), least, lambda: _look_at_copies(backend, program))
        if not left:
            break
    program.reset()
    return left


def beyond(first: Look, least: float, compare: Callable[[], Look]) -> float:
    """Return by how much a first look took longer than one where nothing is left; 0 if by no more than ``least``.

    ``compare`` makes that other look, if it is needed. New pages of memory take time as well: whether the C library
    still has those that were freed changes from look to look, and 4 MB of new pages would pass for 2 ms of work.
    """
    if first.seconds <= least:
        return 0.0
    other = compare()
    left = first.seconds - other.seconds - new_pages_s(first.pages - other.pages)
    return left if left > least else 0.0


def new_pages_s(count: int) -> float:
    """Return the seconds that the system takes now to give so many pages of memory."""
    if count <= 0:
        return 0.0
    with mmap.mmap(-1, count * mmap.PAGESIZE) as memory:
        pages = np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE]
        start = time.perf_counter()
        pages[:] = 1
        spent_s = time.perf_counter() - start
        del pages  # or the memory could not be given back
    return spent_s


def _look_at_copies(backend: Backend, program: Program) -> Look:
    """Return a first look at copies of the outputs. A second look at the outputs would not do.

    A framework may keep what was looked at, or compute it again.
    """
    staged = [backend.from_numpy(array) for array in program.outputs() if array.ndim]
    backend.synchronize(staged)
    return _look(lambda: [backend.to_numpy(array) for array in staged])


def _look(action: Callable[[], object]) -> Look:
    before = _pages()
    start = time.perf_counter()
    action()
    return Look(time.perf_counter() - start, _pages() - before)


def _pages() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
