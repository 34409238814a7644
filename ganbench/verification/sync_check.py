"""Check that ``synchronize`` waits: if work is left when it returns, the first look at the results takes longer."""

import functools
import math
import mmap
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..backend import Backend, Program

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TRIES = 8  # one stall of the machine must not look like work
LONG_S = 0.01  # work that takes so long is seen, so no more calls are needed
LEAST_S = 1e-6
UNDONE = 0.1  # of the time of two calls


class Look(NamedTuple):
    """The seconds of a look, and the number of new memory pages that it needed."""

    seconds: float
    pages: int


def unfinished(backend: Backend, program: Program, calls: int, share: float) -> float:
    """Return the seconds of work that are left when ``synchronize`` returns after ``calls`` calls; 0: none.

    Less than ``share`` of the calls' own time counts as none. Once that share is ``LONG_S``, two calls are
    enough. The program is reset afterwards.
    """
    left, least = 0.0, math.inf
    for _ in range(TRIES):
        program.reset()
        backend.synchronize(program.result)
        made, start = 0, time.perf_counter()
        while made < calls and (made < 2 or share * (time.perf_counter() - start) <= LONG_S):
            program()
            made += 1
        backend.synchronize(program.result)
        # Of all tries the least: calls that were stalled do not excuse what is left of those that were not.
        least = min(least, max(share * (time.perf_counter() - start), LEAST_S))
        left = beyond(_look(program.outputs), least, functools.partial(_look_with_none_left, backend, program, made))
        if not left:
            break
    program.reset()
    return left


def left_before(backend: Backend, program: Program) -> float:
    """Return the seconds of work that a call has left undone once a later one was waited for; 0: none.

    A lazy framework never does it: nobody asks for that result. Only for operations without a state, whose calls do
    not depend on one another.
    """
    found: list[float] = []
    while len(found) < TRIES and found.count(0.0) <= TRIES // 2:  # more than half are 0, and so is the median
        start = time.perf_counter()
        program()
        before = program.result
        program()
        backend.synchronize(program.result)
        done = time.perf_counter()
        backend.synchronize(before)
        first = time.perf_counter()
        backend.synchronize(before)  # what a wait takes that has nothing to wait for
        left = 2 * first - done - time.perf_counter()
        found.append(left if left > max(UNDONE * (done - start), LEAST_S) else 0.0)
    return statistics.median(found)  # a stall may look like work, and a stalled call hide it


def beyond(first: Look, least: float, compare: Callable[[], Look]) -> float:
    """Return how much longer the first look took than a look with no work left; 0 if at most ``least``.

    ``compare`` makes that other look, if it is needed. The time for new memory pages is taken off: a look may need
    some or none, as the C library has freed pages left or not, and 4 MB of new pages take as long as 2 ms of work.
    """
    if first.seconds <= least:
        return 0.0
    other = compare()
    left = first.seconds - other.seconds - new_pages_s(first.pages - other.pages)
    return left if left > least else 0.0


def new_pages_s(count: int) -> float:
    """Return the seconds that the system needs now for this many new memory pages."""
    if count <= 0:
        return 0.0
    with mmap.mmap(-1, count * mmap.PAGESIZE) as memory:
        pages = np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE]
        start = time.perf_counter()
        pages[:] = 1
        spent_s = time.perf_counter() - start
        del pages  # or the memory could not be given back
    return spent_s


def _look_with_none_left(backend: Backend, program: Program, calls: int) -> Look:
    """Return the longer of two looks that find no work left: at copies of the outputs, and a second one at outputs.

    The second one also has the time in which a backend rearranges outputs. A framework may compute them again for it.
    So it follows one call, and is left out where the look that it is compared with followed no more than one.
    """
    staged = [backend.from_numpy(array) for array in program.outputs() if array.ndim]
    backend.synchronize(staged)
    copies = _look(lambda: [backend.to_numpy(array) for array in staged])
    if calls == 1:
        return copies
    program.reset()
    program()
    backend.synchronize(program.result)
    program.outputs()
    return max(copies, _look(program.outputs))


def _look(action: Callable[[], object]) -> Look:
    before = _pages()
    start = time.perf_counter()
    action()
    return Look(time.perf_counter() - start, _pages() - before)


def _pages() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
