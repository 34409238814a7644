"""Do the engine and ``torch.utils.benchmark.Timer`` give the same time for the same callable?

In one process, for the five default operations on PyTorch: visits of the engine and blocks of ``Timer.timeit`` in
turns, the same program, number of calls, threads and processors, from the same staged state, the first of each pair
alternating. On the host a call has finished when it returns, so neither has anything to wait for. Each pair of
these gives a ratio; theirs is the Hodges–Lehmann estimate with its 95 % interval.

Two minutes: ``python benchmarks/studies/torch_timer.py``
"""

import os

from study import Study, options, prepared

from ganbench import registry
from ganbench.machine.environment import usable_cpus
from ganbench.measure.engine import MAX_ITERATIONS, VISIT_S, calibrate, time_visit, warm_up
from ganbench.operations import DEFAULT_OPERATIONS
from ganbench.results.statistics import speed_ratio

LIMIT = 0.02


def main() -> None:
    chosen = options("torch_timer", __doc__).parse_args()
    preset, pairs, visit_s = ("tiny", 6, 0.002) if chosen.short else ("mnist-mlp", 480, VISIT_S)
    operations = DEFAULT_OPERATIONS[:2] if chosen.short else DEFAULT_OPERATIONS
    threads = len(usable_cpus())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cpus())
    study = Study(chosen, preset=preset, operations=operations, pairs=pairs, visit_s=visit_s, threads=threads)
    for name in operations:
        study.add({"operation": name, **in_turns(name, preset, pairs, visit_s, threads)})
        study.say(in_words(study.pieces[-1]))
    study.conclude(judge(study.pieces))


def in_turns(name: str, preset: str, pairs: int, visit_s: float, threads: int) -> dict:
    """Return seconds per call by either, pair by pair."""
    import torch
    from torch.utils.benchmark import Timer

    torch.set_num_threads(threads)
    backend = registry.load("torch")()
    operation, program = prepared(backend, name, preset)
    # One turn of either must not carry the state too far: the Timer cannot be told to reset in the middle.
    number = min(calibrate(backend, operation, program, visit_s), MAX_ITERATIONS * 9 // 10)
    warm_up(backend, operation, program, 1.0, number)
    timer = Timer("program()", globals={"program": program}, num_threads=threads)

    def by_engine() -> float:
        return time_visit(backend, operation, program, number).seconds

    def by_timer() -> float:
        program.reset()
        return timer.timeit(number).mean  # calls it a few times beforehand, untimed, as the engine does

    found: dict[str, list[float]] = {"engine_s": [], "timer_s": []}
    turns = [("engine_s", by_engine), ("timer_s", by_timer)]
    for pair in range(pairs):
        for key, turn in turns if pair % 2 else reversed(turns):
            found[key].append(turn())
    return {"number": number, **found}


def ratio_of(piece: dict) -> tuple[float, float, float]:
    """Return engine time ÷ Timer time with its interval."""
    return tuple(speed_ratio(piece["engine_s"], piece["timer_s"]))


def in_words(piece: dict) -> str:
    """Return one operation's ratio as text."""
    value, low, high = ratio_of(piece)
    return f"{piece['operation']} {value:.3f} [{low:.3f}, {high:.3f}]"


def judge(pieces: list[dict]) -> dict:
    """Return the verdict over all operations."""
    ratios = {piece["operation"]: ratio_of(piece) for piece in pieces}
    worst = max((abs(value - 1) for value, _, _ in ratios.values()), default=1.0)
    return {
        "passed": set(ratios) == set(DEFAULT_OPERATIONS) and worst <= LIMIT,
        "goal": f"within {LIMIT:.0%} of torch.utils.benchmark.Timer on each of {len(DEFAULT_OPERATIONS)} operations",
        "measured": "engine ÷ Timer: " + ", ".join(map(in_words, pieces)),
        "ratios": ratios,
        "worst": worst,
    }


if __name__ == "__main__":
    main()
