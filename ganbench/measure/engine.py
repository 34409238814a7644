"""The only timing loop. ``compare`` runs it in workers, asv in its own processes.

A visit to a program starts from the staged state, makes untimed calls for some milliseconds (the lead-in), and then
times many calls in a row. After a switch between processes, threads must wake and caches must fill; the lead-in is
long enough for that: docs/decisions/0006.
"""

import contextlib
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import DISPLACING, Backend, Program
from ..gan import MAX_ITERATIONS
from ..machine.energy import counter, stretch
from ..machine.environment import Watch, last_level_cache
from ..operation import Inputs, Operation
from .protocol import Spent, Timed, Warmed

VERSION = "3"  # raised when a change of this loop changes the times of the same program

LEAD_IN_S = 0.004  # untimed, at the beginning of a visit
VISIT_S = 0.02  # timed, at least; the same in every profile
COLD_VISIT_S = 0.1  # with all that is written: what is timed is the smaller part of it
WINDOW = 4  # visits of one warm-up window
LOADED_S = 0.002  # untimed work, during which the clocks of a device are read
LATENCIES = 20  # synchronised calls after a visit, on a device that queues work
PIECE = 0.1  # of a visit, 2 ms, between two looks at a counter of energy: how exactly it is known when it moved
AGREEMENT = 0.01  # largest relative difference of two windows in a steady state


Timer = Callable[[Backend, Operation, Program, int], Timed]  # makes a visit of so many calls


def first_call(backend: Backend, operation: Operation, inputs: Inputs) -> tuple[Program, float, float]:
    """Prepare and run once; return the program, seconds to prepare, seconds of the first run.

    Raises ``UnsupportedError`` where the backend is not written for the loss of the operation.
    """
    backend.require_loss(operation)
    start = time.perf_counter()
    program = backend.prepare(operation, inputs)
    backend.synchronize(program.result)
    prepared = time.perf_counter()
    program()
    backend.synchronize(program.result)
    return program, prepared - start, time.perf_counter() - prepared


def time_visit(backend: Backend, operation: Operation, program: Program, number: int) -> Timed:
    """Time ``number`` calls after a lead-in, from the staged state; return to that state after ``MAX_ITERATIONS``.

    At the start and at the end one call is still in flight. So the queue of a framework that queues its calls is never
    empty, and the time is that of a loop without end. If calls return when they are done, ``number`` calls are timed.
    """
    longest = most_calls(operation, program)
    wall = cpu = device = 0.0
    left = number
    with collector_off():
        mark, carried = lead_in(backend, program, longest)
        watch = Watch(backend.device)
        while left:
            if carried == longest:
                backend.synchronize(mark)  # or the calls still in flight would be timed with the next piece
                mark, carried = first(backend, program), 1
            calls = min(left, longest - carried)
            cpu_start, start = time.process_time(), time.perf_counter()
            began = backend.event()
            for _ in range(calls - 1):
                program()
            last = backend.mark(program.result) if calls > 1 else mark
            program()
            ended = backend.event()
            mark = backend.mark(program.result)
            backend.synchronize(last)
            wall += time.perf_counter() - start
            cpu += time.process_time() - cpu_start
            carried += calls
            left -= calls
            if began is not None:
                backend.synchronize(mark)
                device += backend.elapsed(began, ended)
        if backend.device != "cpu":
            # Clocks are read while the device works on untimed calls. During the timed calls, reading them would delay
            # a host that is slower than its device. After a wait, they would be the clocks of an idle device.
            for _ in range(min(longest - carried, math.ceil(LOADED_S * number / wall))):
                program()
            mark = backend.mark(program.result)
        disturbance = watch.stop()
        backend.synchronize(mark)
        latency = None
        if backend.device != "cpu":
            carried = min(number, longest, LATENCIES)
            latency = _latency(backend, program, carried)
    per_iteration = 1 / (number * program.iterations)
    device_s = device * per_iteration if device else None
    return Timed(wall * per_iteration, cpu / wall, disturbance, carried * program.iterations, latency, device_s)


def most_calls(operation: Operation, program: Program) -> int:
    """Return after how many calls the state must be reset: after more iterations, a GAN's numbers may be extreme."""
    return max(2, MAX_ITERATIONS // program.iterations) if operation.stateful else sys.maxsize


def first(backend: Backend, program: Program) -> Any:
    """Return to the staged state and enqueue the first call from there; return its mark."""
    program.reset()
    backend.synchronize(program.result)
    program()
    return backend.mark(program.result)


def lead_in(backend: Backend, program: Program, longest: int) -> tuple[Any, int]:
    """Call untimed for ``LEAD_IN_S``; return the mark of the last call and the number of calls since the reset.

    These calls bring code and data back into the caches, and wake the threads, after another process ran.
    """
    until = time.perf_counter() + LEAD_IN_S
    mark, calls = first(backend, program), 1
    while time.perf_counter() < until:
        if calls == longest:
            mark, calls = first(backend, program), 1
        program()
        before, mark, calls = mark, backend.mark(program.result), calls + 1
        backend.synchronize(before)
    return mark, calls


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


def displacer(times: float = DISPLACING) -> Callable[[], object]:
    """Return a function that displaces the content of its core's caches: it changes a larger array."""
    array = np.ones(int(times * last_level_cache()) // 8)  # zeros would only be allocated when they are changed
    return lambda: np.add(array, 1.0, out=array)  # not ``fill``, which may write past the caches


class Cold:
    """Times visits with cold caches: before each call the content of the caches is displaced, and that is not timed.

    It is displaced by writing more than the cache holds, as nvbench and Triton's ``do_bench`` do. The alternative, many
    copies of a program in turn, would compile and hold each copy, and a small operation would need thousands of them.
    On a GPU the calls are timed by events. The writing keeps the device busy while the host enqueues the next call.

    Raises ``UnsupportedError`` if the backend cannot displace its caches' content.
    """

    def __init__(self, backend: Backend) -> None:
        self.displace: Callable[[], object] = displacer() if backend.device == "cpu" else backend.cache_displacer()

    def time_visit(self, backend: Backend, operation: Operation, program: Program, number: int) -> Timed:
        """Time ``number`` calls, each alone, after a lead-in; cut where the state would be carried too far."""
        longest, one = most_calls(operation, program), _on_host if backend.device == "cpu" else _on_device
        calls: list[Callable[[], float]] = []  # what tells how long each took
        with collector_off():
            mark, carried = lead_in(backend, program, longest)
            backend.synchronize(mark)
            watch = Watch(backend.device)
            began, cpu_began = time.perf_counter(), time.process_time()
            for _ in range(number):
                if carried == longest:
                    backend.synchronize(first(backend, program))
                    carried = 1
                self.displace()
                calls.append(one(backend, program))
                carried += 1
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            disturbance = watch.stop()  # a device is still at work
            backend.synchronize(program.result)
        timed = sum(call() for call in calls)
        seconds = timed / (number * program.iterations)
        return Timed(
            seconds, cpu / wall, disturbance, carried * program.iterations, None,
            None if backend.device == "cpu" else seconds, (wall - timed) / number,
        )  # fmt: skip


def _on_host(backend: Backend, program: Program) -> Callable[[], float]:
    """Make one call and wait for it; return a function that gives its seconds."""
    start = time.perf_counter()
    program()
    backend.synchronize(program.result)
    seconds = time.perf_counter() - start
    return lambda: seconds


def _on_device(backend: Backend, program: Program) -> Callable[[], float]:
    """Enqueue one call between two events; return a function that gives the seconds between them, once it is done."""
    start = backend.event()
    program()
    end = backend.event()
    return lambda: backend.elapsed(start, end)


def calibrate(
    backend: Backend, operation: Operation, program: Program, visit_s: float = VISIT_S, timer: Timer = time_visit
) -> int:
    """Return how many calls take ``visit_s`` seconds or a little more; 1 if one call takes longer."""

    def length(number: int) -> float:
        timed = timer(backend, operation, program, number)
        return (timed.seconds * program.iterations + timed.displace_s) * number

    number = 1
    while True:
        seconds = length(number)
        if seconds >= visit_s:  # the minimum: one stall of the machine must not make a visit look long
            seconds = min(seconds, length(number), length(number))
        if seconds >= visit_s:
            break
        # Aim past the goal, but never trust one short visit by more than a hundredfold. Least of all a single call of a
        # framework that queues: the call in flight may have ended before the clock started, and this one after it.
        number = max(number + 1, min(100 * number, round(1.1 * number * visit_s / max(seconds, 1e-9))))
    return max(1, min(number, math.ceil(1.1 * number * visit_s / seconds)))


def warm_up(
    backend: Backend, operation: Operation, program: Program, cap_s: float, number: int = 0,
    timer: Timer = time_visit, visit_s: float = VISIT_S,
) -> Warmed:  # fmt: skip
    """Make short visits until two windows agree and show no slope, or ``cap_s`` seconds are over.

    With ``cap_s`` 0 one call is timed, and the result is not called steady. ``number`` fixes the calls of a visit; with
    0 it is calibrated first.
    """
    number = number or calibrate(backend, operation, program, visit_s, timer)
    deadline = time.perf_counter() + cap_s
    samples: list[float] = []
    displacing: list[float] = []
    steady = False
    while not steady and (not samples or time.perf_counter() < deadline):
        calls = max(1, number // 4) if cap_s else 1
        timed = timer(backend, operation, program, calls)
        samples.append(timed.seconds)
        displacing.append(timed.displace_s)
        steady = len(samples) >= 2 * WINDOW and is_steady(samples[-2 * WINDOW :])
    seconds = statistics.median(samples[-2 * WINDOW :]) * program.iterations
    return Warmed(number, seconds, steady, statistics.median(displacing))


def is_steady(samples: list[float]) -> bool:
    """Return whether the two halves agree within 1 %, or within their own scatter, and show no slope.

    There is a slope if every visit of one half is faster than every visit of the other. With four visits in each half
    that happens by chance once in 35 times.
    """
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    before, after = statistics.median(first), statistics.median(second)
    scatter = statistics.median([abs(x - before) for x in first] + [abs(x - after) for x in second])
    sloping = max(second) < min(first) or min(second) > max(first)
    return abs(after - before) <= max(AGREEMENT * before, scatter) and not sloping


def spend(backend: Backend, operation: Operation, program: Program, number: int) -> Spent:
    """Return the energy that calls in a row use, over one stretch of them. Raises ``UnavailableError``.

    A visit has ``number`` calls.
    """
    longest, piece = most_calls(operation, program), max(1, round(PIECE * number))
    piece = min(piece, longest)
    mark, carried = lead_in(backend, program, longest)

    def start() -> None:
        nonlocal carried, mark
        if carried + piece > longest:
            backend.synchronize(mark)
            program.reset()
            backend.synchronize(program.result)
            carried = 0
        for _ in range(piece):
            program()
        mark = backend.mark(program.result)
        carried += piece

    def finish() -> int:
        backend.synchronize(mark)
        return piece * program.iterations

    with collector_off():
        found = stretch(counter(backend.device).read, start, finish)
    return Spent(found.joules / found.done, found.seconds / found.done, found.seconds, found.doubt)


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python from collecting garbage while something is timed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
