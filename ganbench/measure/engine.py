"""The only timing loop. ``compare`` runs it in workers, asv in its own processes.

A block starts from the staged state and ends in a sync of the whole result, both through the backend.
"""

import contextlib
import gc
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

from ..backend import Backend, Program
from ..gan import MAX_ITERATIONS
from ..machine.disturbance import Watch
from ..operation import Inputs, Operation
from .protocol import Timed

VERSION = "2"  # raised when the same program would be given another time

LEAD_IN = 4  # the untimed lead-in of a block is this fraction of it
WINDOW = 4  # blocks of one warm-up window
LATENCIES = 20  # synchronised calls after a block, on a device that queues work
AGREEMENT = 0.01  # two windows of a steady state agree this closely


class WarmUp(NamedTuple):
    """The end of a warm-up: calls per block, seconds per call, and whether a steady state was reached."""

    number: int
    seconds: float
    steady: bool


def first_call(backend: Backend, operation: Operation, inputs: Inputs) -> tuple[Program, float, float]:
    """Prepare and run once; return the program, seconds to prepare, seconds of the first run."""
    start = time.perf_counter()
    program = backend.prepare(operation, inputs)
    backend.synchronize(program.result)
    prepared = time.perf_counter()
    program()
    backend.synchronize(program.result)
    return program, prepared - start, time.perf_counter() - prepared


def time_block(backend: Backend, operation: Operation, program: Program, number: int) -> Timed:
    """Time ``number`` calls from the staged state, cut where the state would be carried too far."""
    longest = max(1, MAX_ITERATIONS // program.iterations) if operation.stateful else number
    program.reset()
    for _ in range(min(longest, max(1, number // LEAD_IN))):
        program()  # untimed: brings code, data and threads back after whatever ran in between
    backend.synchronize(program.result)  # reset() forgets these results, and a later sync would not wait for them
    wall = cpu = device = 0.0
    left = number
    watch = Watch(backend.device)
    with _collector_off():
        while left:
            calls = min(left, longest)
            program.reset()
            backend.synchronize(program.result)
            cpu_start, start = time.process_time(), time.perf_counter()
            began = backend.event()
            for _ in range(calls):
                program()
            ended = backend.event()
            backend.synchronize(program.result)
            wall += time.perf_counter() - start
            cpu += time.process_time() - cpu_start
            device += backend.elapsed(began, ended) if began is not None else 0.0
            left -= calls
        disturbance = watch.stop()
        latency = None if backend.device == "cpu" else _latency(backend, program, min(number, longest, LATENCIES))
    per_iteration = 1 / (number * program.iterations)
    device_s = device * per_iteration if device else None
    return Timed(wall * per_iteration, cpu / wall, disturbance, latency, device_s)


def _latency(backend: Backend, program: Program, calls: int) -> float:
    """Return the median seconds of a call that is waited for, from the staged state."""
    program.reset()
    backend.synchronize(program.result)
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        program()
        backend.synchronize(program.result)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def calibrate(backend: Backend, operation: Operation, program: Program, block_s: float) -> int:
    """Return how many calls make a block of at least ``block_s`` seconds."""

    def block_length() -> float:
        return time_block(backend, operation, program, number).seconds * number * program.iterations

    number = 1
    while True:
        seconds = block_length()
        if seconds >= block_s:  # one stall of the machine must not pass for a long block
            seconds = min(seconds, block_length(), block_length())
        if seconds >= block_s:
            return number
        # Aim past the goal, but never trust one short block by more than tenfold.
        number = max(number + 1, min(10 * number, round(1.2 * number * block_s / max(seconds, 1e-9))))


def warm_up(
    backend: Backend, operation: Operation, program: Program, block_s: float, cap_s: float, number: int = 0
) -> WarmUp:
    """Run short blocks until two windows agree and show no slope, or ``cap_s`` seconds are over.

    With ``cap_s`` 0 one window is run, and nothing is said to be steady.

    ``number`` fixes the calls of a timed block; 0 calibrates it first.
    """
    number = number or calibrate(backend, operation, program, block_s)
    short = max(1, number // 4)  # a window is then no longer than a timed block
    deadline = time.perf_counter() + cap_s
    samples: list[float] = []
    while True:
        samples.append(time_block(backend, operation, program, short).seconds)
        steady = len(samples) >= 2 * WINDOW and is_steady(samples[-2 * WINDOW :])
        late = time.perf_counter() > deadline and len(samples) >= WINDOW
        if steady or late:
            seconds = statistics.median(samples[-2 * WINDOW :]) * program.iterations
            return WarmUp(number, seconds, steady)


def is_steady(samples: list[float]) -> bool:
    """Whether the two halves agree within 1 %, or within their own scatter, and show no slope.

    A slope shows as every block of one half being faster than every block of the other: with four blocks
    in each half that happens by chance once in 35 times.
    """
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    before, after = statistics.median(first), statistics.median(second)
    scatter = statistics.median([abs(x - before) for x in first] + [abs(x - after) for x in second])
    sloping = max(second) < min(first) or min(second) > max(first)
    return abs(after - before) <= max(AGREEMENT * before, scatter) and not sloping


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
