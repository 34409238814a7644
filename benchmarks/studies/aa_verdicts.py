"""Does a target compared with itself under another name ever come out faster or slower?

Each run compares one framework with three copies of itself, the very same class under other names, on the five
default operations at quick rigor; the built-in control is a fourth copy. Every copy on every operation is one
comparison: 20 in a run, 300 in fifteen. A comparison is false if its row in the table says ``faster`` or
``slower``; the control has no row, so it is false where it would be said to have failed. The four of one run
and operation share their baseline, so they are not independent: the count is of rows that a user would read.
Beside it stand the intervals of disjoint pairs of copies, which share nothing, and have no control.

Five processes of one framework start in each round, where a comparison of three frameworks has four of which two
are NumPy's, so a run may take 110 s and not 84. From the repository's root, 28 minutes on 2 cores: ``python
benchmarks/studies/aa_verdicts.py``
"""

import math
import statistics
import time
from itertools import combinations, pairwise

from study import (
    BASELINE,
    CONTROL,
    Recorded,
    Study,
    log_ratios,
    options,
    round_visits,
    said,
    speed,
    upper_bound,
    use_plugin,
)

import ganbench
from ganbench.operations import DEFAULT_OPERATIONS
from ganbench.results.statistics import MIN_ROUNDS, beyond_band, control_failed, judge as judge_ratio

FRAMEWORKS = ("numpy", "torch", "jax") * 5  # one run each
COPIES = "abc"
LEAST = 300
MARGINS = (0.0, 0.5, 1.0, 1.1, 1.2, 1.3, 1.5)
CLAIMS = ("faster", "slower")


def main() -> None:
    parser = options("aa_verdicts", __doc__, resumable=True)
    parser.add_argument("--budget", type=float, default=110.0, help="seconds of one run")
    chosen = parser.parse_args()
    frameworks = FRAMEWORKS[:1] if chosen.short else FRAMEWORKS
    copies = COPIES[:2] if chosen.short else COPIES
    operations = ("batch_norm",) if chosen.short else DEFAULT_OPERATIONS
    preset = "tiny" if chosen.short else "mnist-mlp"
    study = Study(chosen, frameworks=frameworks, copies=copies, operations=operations, preset=preset,
                  rigor="quick", budget_s=chosen.budget)  # fmt: skip
    use_plugin()
    for number, framework in list(enumerate(frameworks))[len(study.pieces) :]:
        start = time.monotonic()
        targets = [framework, *(f"{framework}_{letter}" for letter in copies)]
        comparison = ganbench.compare(
            targets, preset=preset, ops=operations, budget_s=chosen.budget, rounds=6 if chosen.short else None,
            seed=number, results=None, ceilings=False,
        )  # fmt: skip
        seconds = time.monotonic() - start
        study.add({"framework": framework, "visits": round_visits(comparison), "seconds": seconds})
        study.say(f"run {number + 1} of {len(frameworks)}, {framework}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def judge(pieces: list[dict]) -> dict:
    """Return the verdict over all runs; what could not be compared (too few rounds, no row) does not count."""
    compared = kept_back = pairs = false_pairs = 0
    false_rows = []
    for run in pieces:
        for operation, visits in run["visits"].items():
            for name in visits:
                if name == BASELINE or len(visits[name]) < MIN_ROUNDS:
                    continue
                compared += 1
                is_control = name == CONTROL
                verdict = said(visits, name)
                ratio = verdict.control if is_control else verdict.ratio
                wrong = control_failed(ratio) if is_control else verdict.outcome in CLAIMS
                kept_back += beyond_band(ratio) and not wrong
                if wrong:
                    false_rows.append([run["framework"], operation, name, *ratio])
            for one, other in disjoint_pairs(visits):
                pairs += 1
                false_pairs += beyond_band(speed([one], other))
    false = len(false_rows)
    bound = upper_bound(false, compared) if compared else 1.0
    choices, misled = by_margin(pieces)
    return {
        "passed": compared >= LEAST and false == 0,
        "goal": f"0 false verdicts in at least {LEAST} comparisons of a target with itself, at quick rigor",
        "measured": f"{false} in {compared} (95 % upper bound {bound:.1%}); "
        f"{kept_back} more intervals beyond the band, kept back by the "
        f"margin or a failed control; of disjoint pairs {false_pairs} in {pairs} intervals beyond it; "
        f"of {choices} choices of baseline, copy and target, by margin: "
        + ", ".join(f"{margin:g} {number}" for margin, number in misled.items()),
        "compared": compared,
        "false": false,
        "false_rows": false_rows,
        "upper_bound": bound,
        "kept_back": kept_back,
        "disjoint_pairs": pairs,
        "false_disjoint_pairs": false_pairs,
        "choices": choices,
        "misled_by_margin": {str(margin): number for margin, number in misled.items()},
    }


def by_margin(pieces: list[dict]) -> tuple[int, dict[float, int]]:
    """Return how many choices of a baseline, its copy and a target there are, and how many would mislead, by margin.

    They overlap, so this is no sample of so many; it says which margin keeps back what another lets through.
    """
    choices, misled = 0, dict.fromkeys(MARGINS, 0)
    for run in pieces:
        for visits in run["visits"].values():
            for baseline, target in triples(visits):
                ratio, control = speed(baseline, target), speed(baseline[:1], baseline[1])
                choices += 1
                for margin in MARGINS:
                    misled[margin] += judge_ratio(ratio, len(target), control, margin).outcome in CLAIMS
    return choices, misled


def triples(visits: dict[str, Recorded]) -> list[tuple[list[Recorded], Recorded]]:
    """Return every choice of two copies as a baseline and its control, and of a third as target."""
    copies = [rounds for rounds in visits.values() if len(rounds) >= MIN_ROUNDS]
    return [
        ([one, other], target)
        for one, other in combinations(copies, 2)
        for target in copies
        if target is not one and target is not other
    ]


def disjoint_pairs(blocks: dict[str, Recorded]) -> list[tuple[Recorded, Recorded]]:
    """Return pairs of copies of which no two share a worker."""
    copies = [seconds for seconds in blocks.values() if len(seconds) >= MIN_ROUNDS]
    return list(pairwise(copies))[::2]


def sigmas(pieces: list[dict]) -> dict[str, float]:
    """Return the standard deviation of the per-round log-ratio, by framework and operation; its mean is 0."""
    squares: dict[str, list[float]] = {}
    for run in pieces:
        for operation, blocks in run["visits"].items():
            for one, other in disjoint_pairs(blocks):
                found = squares.setdefault(f"{run['framework']} {operation}", [])
                found += [ratio**2 for ratio in log_ratios([one], other)]
    return {name: math.sqrt(statistics.fmean(values)) for name, values in squares.items()}


if __name__ == "__main__":
    main()
