"""Visits with cold caches: before each call what the caches hold is displaced, and that is not timed."""

import time
from collections.abc import Callable

import numpy as np

from ..backend import DISPLACING, Backend, Program
from ..machine.environment import Watch, last_level_cache
from ..operation import Operation
from ..results.collector import collector_off
from .engine import Begin, Examination, first, lead_in, most_calls, staged
from .protocol import Timed

VISIT_S = 0.1  # with all that is written: what is timed is the smaller part of it


def displacer() -> Callable[[], object]:
    """Return a function that displaces the content of its core's caches: it changes a larger array."""
    array = np.ones(DISPLACING * last_level_cache() // 8)  # zeros would only be allocated when they are changed
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

    def time_visit(
        self, backend: Backend, operation: Operation, program: Program, number: int, begin: Begin | None = None,
        examination: Examination | None = None,
    ) -> Timed:  # fmt: skip
        """Time ``number`` calls, each alone, after a lead-in; cut where the state would be carried too far."""
        longest, one = most_calls(operation, program), _on_host if backend.device == "cpu" else _on_device
        calls: list[Callable[[], float]] = []  # what tells how long each took
        with collector_off():
            staged(backend, program, begin)
            mark, carried = lead_in(backend, program, longest)
            backend.synchronize(mark)
            watch = Watch(backend.device)
            began, cpu_began = time.perf_counter(), time.process_time()
            for done in range(1, number + 1):
                if carried == longest:
                    backend.synchronize(first(backend, program))
                    carried = 1
                self.displace()
                calls.append(one(backend, program))
                carried += 1
                if examination and done == examination.after:
                    backend.synchronize(program.result)
                    stopped, cpu_stopped = time.perf_counter(), time.process_time()
                    examination.look(carried)
                    backend.synchronize(first(backend, program))
                    carried = 1
                    began += time.perf_counter() - stopped
                    cpu_began += time.process_time() - cpu_stopped
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            disturbance = watch.stop()  # a device is still at work
            backend.synchronize(program.result)
        timed = sum(call() for call in calls)
        seconds = timed / (number * program.iterations)
        device_s = None if backend.device == "cpu" else seconds
        return Timed(seconds, cpu / wall, disturbance, None, device_s, (wall - timed) / number)


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
