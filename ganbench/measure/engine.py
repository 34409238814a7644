"""The only timing loop. ``compare`` runs it in workers, asv in its own processes.

A visit to a program begins with inputs and a state that it has not seen before, makes untimed calls for some
milliseconds (the lead-in), and then times many calls in a row. After a switch between processes, threads must wake and
caches must fill; the lead-in is long enough for that: docs/decisions/0006.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..backend import Backend, Program
from ..gan import MAX_ITERATIONS
from ..machine.energy import counter, stretch
from ..machine.environment import Watch
from ..operation import Inputs, Operation
from ..results.collector import collector_off
from .protocol import Spent, Timed, Warmed

VERSION = "5"  # raised when a change of this loop changes the times of the same program

LEAD_IN_S = 0.003  # untimed, at the beginning of a visit
VISIT_S = 0.01  # timed, at least; the same in every profile
WINDOW = 4  # visits of one warm-up window
LOADED_S = 0.002  # untimed work, during which the clocks of a device are read
LATENCIES = 20  # synchronised calls after a visit, on a device that queues work
PIECE = 0.2  # of a visit, 2 ms, between two looks at a counter of energy: how exactly it is known when it moved
AGREEMENT = 0.01  # largest relative difference of two windows in a steady state


Begin = Callable[[], None]  # stages what a visit begins with; without one, the program is reset
Look = Callable[[int], None]  # looks at the results of a program that has made so many calls since it was staged


class Examination(NamedTuple):
    """When the clock of a visit is stopped, and what is done then; the visit goes on from the staged state."""

    after: int  # timed calls
    look: Look


class Timer(Protocol):
    """What makes a visit of so many calls."""

    def __call__(
        self, backend: Backend, operation: Operation, program: Program, number: int, begin: Begin | None = None,
        examination: Examination | None = None,
    ) -> Timed: ...  # fmt: skip


def first_call(backend: Backend, operation: Operation, inputs: Inputs) -> tuple[Program, float, float]:
    """Prepare and run once; return the program, seconds to prepare, seconds of the first run.

    Raises ``UnsupportedError`` where the backend is not written for the loss or the layers of the operation.
    """
    backend.require_loss(operation)
    backend.require_layers(operation)
    start = time.perf_counter()
    program = backend.prepare(operation, inputs)
    backend.synchronize(program.result)
    prepared = time.perf_counter()
    program()
    backend.synchronize(program.result)
    return program, prepared - start, time.perf_counter() - prepared


def time_visit(
    backend: Backend, operation: Operation, program: Program, number: int, begin: Begin | None = None,
    examination: Examination | None = None,
) -> Timed:  # fmt: skip
    """Time ``number`` calls after a lead-in, from the staged state; return to that state after ``MAX_ITERATIONS``.

    At the start and at the end one call is still in flight. So the queue of a framework that queues its calls is never
    empty, and the time is that of a loop without end. If calls return when they are done, ``number`` calls are timed.
    """
    longest, call = most_calls(operation, program), caller(backend, program)
    wall = cpu = device = 0.0
    left, stop = number, number - examination.after if examination else 0
    with collector_off():
        staged(backend, program, begin)
        watch = Watch(backend.device)  # before the lead-in: it takes long enough for the call in flight to end
        mark, carried = lead_in(backend, program, longest)
        while left:
            if carried == longest:
                backend.synchronize(mark)  # or the calls still in flight would be timed with the next piece
                mark, carried = first(backend, program), 1
            calls = min(left - stop if left > stop else left, longest - carried)
            cpu_start, start = time.process_time(), time.perf_counter()
            began = backend.event()
            for _ in range(calls - 1):
                call()
            last = backend.mark(program.result) if calls > 1 else mark
            call()
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
            if examination and left == stop:
                backend.synchronize(mark)
                examination.look(carried)
                if left:
                    staged(backend, program)
                    mark, carried = lead_in(backend, program, longest)
        if backend.device != "cpu":
            # Clocks are read while the device works on untimed calls. During the timed calls, reading them would delay
            # a host that is slower than its device. After a wait, they would be the clocks of an idle device.
            for _ in range(min(longest - carried, math.ceil(LOADED_S * number / wall))):
                call()
            mark = backend.mark(program.result)
        disturbance = watch.stop()
        backend.synchronize(mark)
        latency = None
        if backend.device != "cpu":
            latency = _latency(backend, program, min(number, longest, LATENCIES))
    per_iteration = 1 / (number * program.iterations)
    device_s = device * per_iteration if device else None
    return Timed(wall * per_iteration, cpu / wall, disturbance, latency, device_s)


def caller(backend: Backend, program: Program) -> Callable[[], None]:
    """Return what makes one call, and waits for it where a result that nobody waits for may never be computed."""
    if backend.queues:
        return program

    def call() -> None:
        program()
        backend.synchronize(program.result)

    return call


def most_calls(operation: Operation, program: Program) -> int:
    """Return after how many calls the state must be reset: after more iterations, a GAN's numbers may be extreme."""
    return max(2, MAX_ITERATIONS // program.iterations) if operation.stateful else sys.maxsize


def first(backend: Backend, program: Program) -> Any:
    """Return to the staged state and enqueue the first call from there; return its mark."""
    staged(backend, program)
    caller(backend, program)()
    return backend.mark(program.result)


def staged(backend: Backend, program: Program, begin: Begin | None = None) -> None:
    """Stage what a visit begins with, and wait until it is there."""
    (begin or program.reset)()
    backend.synchronize(program.result)


def lead_in(backend: Backend, program: Program, longest: int) -> tuple[Any, int]:
    """Call untimed for ``LEAD_IN_S``; return the mark of the last call and the number of calls since it was staged.

    These calls bring code and data back into the caches, and wake the threads, after another process ran.
    """
    call = caller(backend, program)
    until = time.perf_counter() + LEAD_IN_S
    call()
    mark, calls = backend.mark(program.result), 1
    while time.perf_counter() < until:
        if calls == longest:
            mark, calls = first(backend, program), 1
        call()
        before, mark, calls = mark, backend.mark(program.result), calls + 1
        backend.synchronize(before)
    return mark, calls


def _latency(backend: Backend, program: Program, calls: int) -> float:
    """Return the median seconds of a call that is waited for, from the staged state."""
    staged(backend, program)
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        program()
        backend.synchronize(program.result)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def calibrate(
    backend: Backend, operation: Operation, program: Program, visit_s: float = VISIT_S, timer: Timer = time_visit,
    begin: Begin | None = None,
) -> int:  # fmt: skip
    """Return how many calls take ``visit_s`` seconds or a little more; 1 if one call takes longer."""

    def length(number: int) -> float:
        timed = timer(backend, operation, program, number, begin)
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
    timer: Timer = time_visit, visit_s: float = VISIT_S, begin: Begin | None = None,
) -> Warmed:  # fmt: skip
    """Make short visits until two windows agree and show no slope, or ``cap_s`` seconds are over.

    ``number`` fixes the calls of a visit; with 0 it is calibrated first.
    """
    number = number or calibrate(backend, operation, program, visit_s, timer, begin)
    deadline = time.perf_counter() + cap_s
    samples: list[float] = []
    displacing: list[float] = []
    steady = False
    while not steady and (not samples or time.perf_counter() < deadline):
        timed = timer(backend, operation, program, max(1, number // 4), begin)
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
    piece, call = min(piece, longest), caller(backend, program)
    staged(backend, program)
    mark, carried = lead_in(backend, program, longest)

    def start() -> None:
        nonlocal carried, mark
        if carried + piece > longest:
            backend.synchronize(mark)
            staged(backend, program)
            carried = 0
        for _ in range(piece):
            call()
        mark = backend.mark(program.result)
        carried += piece

    def finish() -> int:
        backend.synchronize(mark)
        return piece * program.iterations

    with collector_off():
        found = stretch(counter(backend.device).read, start, finish)
    return Spent(found.joules / found.done, found.seconds / found.done, found.seconds, found.doubt)
