"""Whether ``synchronize`` waits: what is left when it returns is done at the first look at the results."""

import time
from collections.abc import Callable

from ..backend import Backend, Program

TRIES = 3  # one stall of the machine must not pass for work
LEAST_S = 20e-6


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
        left = _seconds(program.outputs)
        if left > least:  # a look may take longer than short calls do: how long where nothing is left?
            left -= _look(backend, program)
        if left <= least:
            left = 0.0
            break
    program.reset()
    return left


def _look(backend: Backend, program: Program) -> float:
    """Return the seconds of a first look at copies of the outputs. A second look at the outputs would not do.

    A framework may keep what was looked at, or compute it again.
    """
    staged = [backend.from_numpy(array) for array in program.outputs() if array.ndim]
    backend.synchronize(staged)
    return _seconds(lambda: [backend.to_numpy(array) for array in staged])


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
