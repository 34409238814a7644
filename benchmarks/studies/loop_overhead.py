"""What does the timing loop add to what it times?

A program that spins until 100 µs have passed since it was called, and keeps what it took by its own clock, is timed
by the engine, as any other is. What the engine says of a visit, beyond what the program says of the very same calls,
is the loop's own: calling the program, and the visit's looks at the clock and last sync, shared among its calls. It
is asked five times, and the worst of the five counts. Beside that: a program that does nothing, alone, and as a
backend prepares one by default.

Half a minute: ``python benchmarks/studies/loop_overhead.py``
"""

import statistics
import time

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend
from study import Study, options

from ganbench.backend import BoundProgram, Program
from ganbench.measure.engine import calibrate, time_visit
from ganbench.operations.layers import Matmul

SPIN_S = 100e-6
LIMIT = 0.01
TIMES = 5


class Empty(Program):
    """Does nothing."""

    def reset(self) -> None:
        pass

    def __call__(self) -> None:
        pass

    def outputs(self) -> list[np.ndarray]:
        return []


class Spin(Empty):
    """Takes as long as it is told, watching the clock, and keeps what it took."""

    def __init__(self) -> None:
        self.took: list[float] = []

    def __call__(self) -> None:
        now = start = time.perf_counter()
        until = start + SPIN_S
        while now < until:
            now = time.perf_counter()
        self.took.append(now - start)


def main() -> None:
    chosen = options("loop_overhead", __doc__).parse_args()
    visits = 5 if chosen.short else 200
    study = Study(chosen, spin_s=SPIN_S, times=TIMES, visits=visits)
    operation, backend = Matmul(16, 16, 36), NumpyBackend()
    inputs = operation.inputs(0, "float32", np.empty(0))
    nothing = BoundProgram(backend, operation, inputs, lambda fixed, state, batch: (state, ()))
    programs: list[tuple[str, Program]] = [("empty program", Empty()), ("empty operation", nothing)]
    for name, program in [*programs, *[("spin", Spin())] * TIMES]:
        number = calibrate(backend, operation, program)
        seconds, spun = [], []
        for _ in range(visits):
            seconds.append(time_visit(backend, operation, program, number).seconds)
            if isinstance(program, Spin):  # an interrupt lengthens a call by either clock
                spun.append(statistics.fmean(program.took[-number:]))
        study.add({"program": name, "calls": number, "seconds": seconds, "spun_s": spun})
    study.conclude(judge(study.pieces))


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: what a visit in the median takes beyond its spins, each time."""
    medians = {piece["program"]: statistics.median(piece["seconds"]) for piece in pieces}
    spins = [
        statistics.median(s / own - 1 for s, own in zip(piece["seconds"], piece["spun_s"], strict=True))
        for piece in pieces
        if piece["program"] == "spin"
    ]
    overhead = max(spins)
    return {
        "passed": min(spins) >= 0 and overhead < LIMIT,  # a loop faster than what it times has lost calls
        "goal": f"the loop adds less than {LIMIT:.0%} at {1e6 * SPIN_S:.0f} µs, {TIMES} times of {TIMES}",
        "measured": f"{', '.join(f'{spin:.2%}' for spin in spins)} of {1e6 * SPIN_S:.0f} µs; an empty program takes "
        f"{1e9 * medians['empty program']:.0f} ns, an empty operation {1e9 * medians['empty operation']:.0f} ns",
        "overhead": overhead,
        "empty_program_s": medians["empty program"],
        "empty_operation_s": medians["empty operation"],
    }


if __name__ == "__main__":
    main()
