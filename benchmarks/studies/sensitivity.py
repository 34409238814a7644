"""Is a slowdown of 5 % found, and is one of 3 % ever called the same?

A plug-in (``plugin/waiting.py``) waits 5 % or 3 % of each call's own time after it; two copies of each are compared
with one that does not wait, on the five default operations, at default and at full rigor, once for NumPy and once
for PyTorch: 20 comparisons of 5 % and 20 of 3 % at either. That the wait is what it claims is checked apart from
the instrument: the programs, in one process, in alternating bursts timed by a loop of its own.

Two default runs of 110 s (six processes start in each round) and two full ones, 15 minutes on 2 cores: ``python
benchmarks/studies/sensitivity.py [--resume]``
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from study import BASELINE, CONTROL, Study, options, prepared, round_visits, said, use_plugin

import ganbench
from ganbench import registry
from ganbench.machine.environment import usable_cpus
from ganbench.measure.process import child_environment
from ganbench.operations import DEFAULT_OPERATIONS
from ganbench.results.statistics import Verdict

FRAMEWORKS = ("numpy", "torch")
COPIES = ("5a", "3a", "5b", "3b")
PERCENTS = (3, 5)
FOUND = {"quick": 0.6, "full": 0.9}  # of the comparisons of 5 %
BUDGETS = {"quick": 110.0, "full": 300.0}  # seconds of one run
LEAST = 20
EXACT = 0.005  # the wait is what it claims within half a per cent of the operation
BURST_S = 0.005
BURSTS = 400


def main() -> None:
    parser = options("sensitivity", __doc__, resumable=True)
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
    runs = [(rigor, framework) for rigor in (("quick",) if chosen.short else FOUND) for framework in frameworks]
    study = Study(chosen, frameworks=frameworks, copies=copies, operations=operations, preset=preset, budgets=BUDGETS,
                  bursts=bursts)  # fmt: skip
    for number, (rigor, framework) in list(enumerate(runs))[len(study.pieces) :]:
        start = time.monotonic()
        fractions = check_injection(framework, preset, bursts)
        study.say(f"{framework}: injected, checked apart: {in_words(fractions)}")
        targets = [f"{framework}_waits.{mode}" for mode in ("0", *copies)]
        comparison = ganbench.compare(
            targets, preset=preset, ops=operations, rigor=rigor, budget_s=BUDGETS[rigor],
            rounds=6 if chosen.short else None, seed=number, results=None, ceilings=False,
        )  # fmt: skip
        study.add({"framework": framework, "rigor": rigor, "injected": fractions,
                   "visits": round_visits(comparison), "seconds": time.monotonic() - start})  # fmt: skip
        study.say(f"run {number + 1} of {len(runs)}, {framework}, {rigor}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def waits(piece: dict) -> list[tuple[int, Verdict]]:
    """Return of each waiting copy by how much per cent it waits, and what the table says of it."""
    return [
        (int(name.partition(".")[2].rstrip("ab")), said(visits, name))
        for visits in piece["visits"].values()
        for name in visits
        if name not in (BASELINE, CONTROL)
    ]


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
    backend = registry.load(framework)()
    fractions: dict[str, dict[str, float]] = {}
    for name in DEFAULT_OPERATIONS:
        _, bare = prepared(backend, name, preset)
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
    counts, passed = {}, True
    for rigor, share in FOUND.items():
        rows = [row for piece in pieces if piece["rigor"] == rigor for row in waits(piece)]
        told = {percent: [verdict.outcome for waited, verdict in rows if waited == percent] for percent in PERCENTS}
        one = {"slower_of_5": told[5].count("slower"), "of_5": len(told[5]), "same_of_3": told[3].count("same"),
               "slower_of_3": told[3].count("slower"), "of_3": len(told[3])}  # fmt: skip
        counts[rigor] = one
        passed &= min(one["of_5"], one["of_3"]) >= LEAST
        passed &= one["slower_of_5"] >= share * one["of_5"] and one["same_of_3"] == 0
    errors = [
        abs(fraction - int(percent) / 100)
        for piece in pieces
        for by_percent in piece["injected"].values()
        for percent, fraction in by_percent.items()
    ]
    worst = max(errors, default=1.0)
    measured = [
        f"{rigor}: 5 % called slower in {one['slower_of_5']} of {one['of_5']}; 3 % called the same in "
        f"{one['same_of_3']} of {one['of_3']}, slower in {one['slower_of_3']}"
        for rigor, one in counts.items()
    ]
    return {
        "passed": passed and worst <= EXACT,
        "goal": "5 % slower is called slower in at least "
        + ", ".join(f"{share:.0%} of {LEAST} comparisons at {rigor} rigor" for rigor, share in FOUND.items())
        + "; 3 % never the same",
        "measured": "; ".join(measured) + f"; the injected fraction, checked apart, is off by {worst:.1%} of the "
        "operation at most",
        "counts": counts,
        "worst_injection_error": worst,
    }


if __name__ == "__main__":
    main()
