"""Is a slowdown of 5 % found, and is one of 3 % ever called the same?

A plug-in (``plugin/waiting.py``) waits 5 % or 3 % of each call's own time after it; two copies of each are
compared with one that does not wait, on the five default operations at full rigor, once for NumPy and once for
PyTorch: 20 comparisons of 5 % and 20 of 3 %. That the wait is what it claims is checked apart from the
instrument: the programs, in one process, in alternating bursts timed by a loop of its own.

Two full runs, 11 minutes on 2 cores: ``python benchmarks/studies/sensitivity.py [--resume]``
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from study import Study, options, round_visits, use_plugin

import ganbench
from ganbench import registry
from ganbench.data import load_images, staged_images
from ganbench.gan import preset as find_preset
from ganbench.machine.environment import usable_cpus
from ganbench.measure.process import child_environment
from ganbench.operations import DEFAULT_OPERATIONS, operation as make_operation

FRAMEWORKS = ("numpy", "torch")
COPIES = ("5a", "3a", "5b", "3b")
PERCENTS = (3, 5)
FOUND = 0.9  # of the comparisons of 5 %
EXACT = 0.005  # the wait is what it claims within half a per cent of the operation
BURST_S = 0.005
BURSTS = 400


def main() -> None:
    parser = options("sensitivity", __doc__, resumable=True)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of one run")
    parser.add_argument("--inject", nargs=3, help=argparse.SUPPRESS)  # framework, preset, bursts: in its own process
    chosen = parser.parse_args()
    use_plugin()
    if chosen.inject:
        framework, preset, bursts = chosen.inject
        print(json.dumps(injected(framework, preset, int(bursts))))
        return
    frameworks = FRAMEWORKS[:1] if chosen.short else FRAMEWORKS
    copies = COPIES[:2] if chosen.short else COPIES
    operations = ("batch_norm",) if chosen.short else DEFAULT_OPERATIONS
    preset, bursts = ("tiny", 4) if chosen.short else ("mnist-mlp", BURSTS)
    study = Study(chosen, frameworks=frameworks, copies=copies, operations=operations, preset=preset, rigor="full",
                  budget_s=chosen.budget, bursts=bursts)  # fmt: skip
    for number, framework in enumerate(frameworks):
        if number < len(study.pieces):
            continue
        start = time.monotonic()
        fractions = check_injection(framework, preset, bursts)
        study.say(f"{framework}: injected, checked apart: {in_words(fractions)}")
        targets = [f"{framework}_waits.{mode}" for mode in ("0", *copies)]
        comparison = ganbench.compare(
            targets, preset=preset, ops=operations, rigor="quick" if chosen.short else "full", budget_s=chosen.budget,
            rounds=6 if chosen.short else 0, seed=number, results=None, ceilings=False,
        )  # fmt: skip
        piece = found(framework, comparison) | {"injected": fractions, "seconds": time.monotonic() - start}
        study.add(piece)
        study.say(f"run {number + 1} of {len(frameworks)}, {framework}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def found(framework: str, comparison: ganbench.Comparison) -> dict:
    """Return what the table said of each waiting copy, and the rounds behind it."""
    table = comparison.to_pandas()
    rows = [
        {
            "operation": row.operation,
            "percent": int(row.target.partition(".")[2].rstrip("ab")),
            "target": row.target,
            "ratio": row.ratio,
            "low": row.ratio_low,
            "high": row.ratio_high,
            "verdict": row.verdict,
            "rounds": int(row.rounds),
        }
        for row in table[table["verdict"] != "baseline"].itertuples()
        if row.status == "ok"
    ]
    return {"framework": framework, "rows": rows, "visits": round_visits(comparison)}


def check_injection(framework: str, preset: str, bursts: int) -> dict[str, dict[str, float]]:
    """Return the fraction really injected, by operation and per cent; from a fresh process set up as a worker."""
    done = subprocess.run(
        [sys.executable, __file__, "--inject", framework, preset, str(bursts)],
        env=child_environment({}, len(usable_cpus())), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def injected(framework: str, preset: str, bursts: int) -> dict[str, dict[str, float]]:
    """Measure the injected fraction by alternating bursts, without the instrument's engine and statistics."""
    from waiting import Waiting

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cpus())
    spec = find_preset(preset)
    images = staged_images(load_images(spec, None), spec, 0)
    backend = registry.load(framework)()
    fractions: dict[str, dict[str, float]] = {}
    for name in DEFAULT_OPERATIONS:
        operation = make_operation(name, spec)
        bare = backend.prepare(operation, operation.inputs(0, "float32", images))
        programs = {percent: Waiting(bare, percent / 100) for percent in (0, *PERCENTS)}
        calls = max(1, round(BURST_S / min(burst(bare, 20) for _ in range(5))))
        times: dict[int, list[float]] = {percent: [] for percent in programs}
        for number in range(bursts):
            for percent in sorted(programs, reverse=bool(number % 2)):
                times[percent].append(burst(programs[percent], min(calls, 300)))
        fractions[name] = {
            str(percent): statistics.median(b / a for a, b in zip(times[0], times[percent], strict=True)) - 1
            for percent in PERCENTS
        }
    return fractions


def burst(program: object, calls: int) -> float:
    """Return seconds per call of a burst from the staged state."""
    program.reset()
    program()
    start = time.monotonic_ns()
    for _ in range(calls):
        program()
    return (time.monotonic_ns() - start) / 1e9 / calls


def in_words(fractions: dict[str, dict[str, float]]) -> str:
    """Return the injected fractions as one line."""
    return ", ".join(
        f"{name} {' / '.join(f'{fraction:.1%}' for fraction in by_percent.values())}"
        for name, by_percent in fractions.items()
    )


def judge(pieces: list[dict]) -> dict:
    """Return the verdict; a wait that is not what it claims proves nothing, so it fails the study."""
    rows = [row for piece in pieces for row in piece["rows"]]
    five = [row["verdict"] for row in rows if row["percent"] == 5]
    three = [row["verdict"] for row in rows if row["percent"] == 3]
    errors = [
        abs(fraction - int(percent) / 100)
        for piece in pieces
        for by_percent in piece["injected"].values()
        for percent, fraction in by_percent.items()
    ]
    slower = sum("slower" in verdict for verdict in five)
    same = sum("same" in verdict for verdict in three)
    worst = max(errors, default=1.0)
    enough = len(five) >= 20 and len(three) >= 20
    return {
        "passed": enough and slower >= FOUND * len(five) and same == 0 and worst <= EXACT,
        "goal": f"at full rigor 5 % slower is called slower in at least {FOUND:.0%} of 20 comparisons, "
        "3 % never the same",
        "measured": f"5 % called slower in {slower} of {len(five)}; 3 % called the same in {same} of {len(three)}, "
        f"slower in {sum('slower' in verdict for verdict in three)}; the injected fraction, checked apart, "
        f"is off by {worst:.1%} of the operation at most",
        "slower_of_5": [slower, len(five)],
        "same_of_3": [same, len(three)],
        "worst_injection_error": worst,
    }


if __name__ == "__main__":
    main()
