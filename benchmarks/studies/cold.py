"""Does ``--caches cold`` displace what lies in the caches? What is read then must come at the speed of memory.

NumPy adds two arrays into a third, on one processor, by the engine's own visits: warm ones and cold ones in turns, over
sizes from a first-level cache to four times the last. What fits a cache must be faster than memory when it is warm,
and no faster than memory when it is cold; what is larger than any cache must take the same time either way. For one
size that fits, visits are also made after writing less and more than the four times the last cache of ``displacer``.

A minute: ``python benchmarks/studies/cold.py``
"""

import os
from statistics import median

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend
from study import Study, options

from ganbench.backend import DISPLACING, Program
from ganbench.machine.environment import last_level_cache, usable_cpus
from ganbench.measure import cold, engine
from ganbench.operations.layers import Matmul

LEVELS = [2**power for power in range(16, 24)]  # bytes of all three arrays; what is larger follows from the caches
SHARED = 2**21  # for writing less and more: more than the second-level cache, and a small part of the last
TIMES = (0.25, 0.5, 1, 2, 4, 8)
LIKE_MEMORY = 1.1  # of its rate


class Sum(Program):
    """``a + b`` into ``c``, ``size`` bytes in all."""

    def __init__(self, size: int) -> None:
        self._a, self._b, self._c = np.ones((3, size // 12), np.float32)

    def reset(self) -> None:
        """Nothing is carried from call to call."""

    def __call__(self) -> None:
        np.add(self._a, self._b, out=self._c)

    def outputs(self) -> list[np.ndarray]:
        return [self._c]


def main() -> None:
    chosen = options("cold", __doc__).parse_args()
    visits, last = (1, 2**22) if chosen.short else (25, last_level_cache())
    sizes = [*(size for size in LEVELS if size <= last // 4), 4 * last]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cpus()[-1:])
    study = Study(chosen, visits=visits, sizes=sizes, last_level_cache=last, times=DISPLACING)
    for size in sizes:
        rates = in_turns(size, visits, {"warm": None, "cold": DISPLACING})
        study.add({"size": size, **rates})
        study.say(f"{size / 2**10:8.0f} KiB: warm {rates['warm'] / 1e9:6.1f} GB/s, cold {rates['cold'] / 1e9:6.1f}")
    for times, rate in in_turns(SHARED, visits, {str(times): times for times in TIMES}).items():
        study.add({"size": SHARED, "times": float(times), "rate": rate})
        study.say(f"after writing {times} times the last cache: {rate / 1e9:.1f} GB/s")
    study.conclude(judge(study.pieces, short=chosen.short))


def in_turns(size: int, visits: int, ways: dict[str, float | None]) -> dict[str, float]:
    """Return bytes/s of each way, the median of visits made in turns: warm (None), or after so much writing."""
    backend, made, program = NumpyBackend(), Matmul(16, 16, 36), Sum(size)
    timers: dict[str, engine.Timer] = {}
    for name, times in ways.items():
        timers[name] = engine.time_visit
        if times is not None:
            timers[name] = (visiting := cold.Cold(backend)).time_visit
            visiting.displace = cold.displacer(times)
    number = engine.calibrate(backend, made, program)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(visits):
        for name, timer in timers.items():
            calls = number if ways[name] is None else 4
            seconds[name].append(timer(backend, made, program, calls).seconds)
    return {name: size / median(found) for name, found in seconds.items()}


def judge(pieces: list[dict], short: bool) -> dict:
    """Return the verdict over all sizes."""
    *fitting, largest = [piece for piece in pieces if "times" not in piece]
    memory = largest["warm"]
    coldest = max(piece["cold"] for piece in fitting)
    slowest = min(piece["warm"] for piece in fitting)
    apart = largest["cold"] / memory
    written = ", ".join(f"{piece['times']:g} times: {piece['rate'] / 1e9:.1f}" for piece in pieces if "times" in piece)
    return {
        "passed": not short and coldest <= LIKE_MEMORY * memory < slowest and 1 / LIKE_MEMORY <= apart <= LIKE_MEMORY,
        "goal": "what fits a cache: warm faster than memory, cold no faster; what does not: the same (each within 10%)",
        "measured": (
            f"memory {memory / 1e9:.1f} GB/s; what fits, {fitting[0]['size'] / 2**10:.0f} KiB to "
            f"{fitting[-1]['size'] / 2**20:.0f} MiB: warm {slowest / 1e9:.1f} to "
            f"{max(piece['warm'] for piece in fitting) / 1e9:.1f}, cold {min(p['cold'] for p in fitting) / 1e9:.1f} to "
            f"{coldest / 1e9:.1f} GB/s; what does not fit: cold ÷ warm {apart:.2f}; GB/s of {SHARED / 2**20:.0f} MiB "
            f"by how often the last cache is written: {written}"
        ),
    }


if __name__ == "__main__":
    main()
