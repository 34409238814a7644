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
from itertools import pairwise, permutations

from study import BASELINE, CONTROL, Study, options, round_visits, upper_bound, use_plugin

import ganbench
from ganbench.operations import DEFAULT_OPERATIONS
from ganbench.results.statistics import (
    MIN_ROUNDS,
    beyond_band,
    control_failed,
    judge as judge_ratio,
    paired_speed,
    pass_ratio,
)

FRAMEWORKS = ("numpy", "torch", "jax") * 5  # one run each
COPIES = "abc"
LEAST = 300
MARGINS = (0.0, 0.5, 1.0, 1.25, 1.5)
CLAIMS = ("faster", "slower")
Rounds = list[dict[int, float]]  # the seconds of the visits of each round, by pass


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
    for number, framework in enumerate(frameworks):
        if number < len(study.pieces):
            continue
        start = time.monotonic()
        targets = [framework, *(f"{framework}_{letter}" for letter in copies)]
        comparison = ganbench.compare(
            targets, preset=preset, ops=operations, budget_s=chosen.budget, rounds=6 if chosen.short else None,
            seed=number, results=None, ceilings=False,
        )  # fmt: skip
        study.add(piece(framework, comparison) | {"seconds": time.monotonic() - start})
        study.say(f"run {number + 1} of {len(frameworks)}, {framework}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def piece(framework: str, comparison: ganbench.Comparison) -> dict:
    """Return what one run leaves: the rounds' blocks, and the verdicts of its table."""
    table = comparison.to_pandas()
    verdicts = {
        operation: dict(zip(rows["target"], rows["verdict"], strict=True))
        for operation, rows in table[table["target"] != framework].groupby("operation")
    }
    return {"framework": framework, "visits": round_visits(comparison), "verdicts": verdicts}


def judge(pieces: list[dict]) -> dict:
    """Return the verdict over all runs; what could not be compared (too few rounds, no row) does not count."""
    compared = false = kept_back = 0
    pairs = false_pairs = 0
    false_rows = []
    for run in pieces:
        for operation, blocks in run["visits"].items():
            for name, seconds in blocks.items():
                if name == BASELINE or len(seconds) < MIN_ROUNDS:
                    continue
                compared += 1
                ratio = paired_speed(blocks[BASELINE], seconds)
                beyond = beyond_band(ratio)
                said = run["verdicts"].get(operation, {}).get(name, "")
                wrong = control_failed(ratio) if name == CONTROL else claims(said)
                kept_back += beyond and not wrong
                if wrong:
                    false += 1
                    false_rows.append([run["framework"], operation, name, said])
            for one, other in disjoint_pairs(blocks):
                pairs += 1
                false_pairs += beyond_band(paired_speed(one, other))
    bound = upper_bound(false, compared) if compared else 1.0
    triples, misled = by_margin(pieces)
    return {
        "passed": compared >= LEAST and false == 0,
        "goal": f"0 false verdicts in at least {LEAST} comparisons of a target with itself, at quick rigor",
        "measured": f"{false} in {compared} (95 % upper bound {bound:.1%}); "
        f"{kept_back} more intervals beyond the band, kept back by the "
        f"margin or a failed control; of disjoint pairs {false_pairs} in {pairs} intervals beyond it; "
        f"of {triples} choices of baseline, copy and control, by margin: "
        + ", ".join(f"{margin:g} {number}" for margin, number in misled.items()),
        "compared": compared,
        "false": false,
        "false_rows": false_rows,
        "upper_bound": bound,
        "kept_back": kept_back,
        "disjoint_pairs": pairs,
        "false_disjoint_pairs": false_pairs,
        "triples": triples,
        "misled_by_margin": {str(margin): number for margin, number in misled.items()},
    }


def by_margin(pieces: list[dict]) -> tuple[int, dict[float, int]]:
    """Return how many choices of a baseline, a copy and a control there are, and how many would mislead, by margin.

    They overlap, so this is no sample of so many; it says which margin keeps back what another lets through.
    """
    triples, misled = 0, dict.fromkeys(MARGINS, 0)
    for run in pieces:
        for visits in run["visits"].values():
            copies = [rounds for rounds in visits.values() if len(rounds) >= MIN_ROUNDS]
            ratios = {(a, b): paired_speed(copies[a], copies[b]) for a, b in permutations(range(len(copies)), 2)}
            for a, b, c in permutations(range(len(copies)), 3):
                triples += 1
                for margin in MARGINS:
                    misled[margin] += judge_ratio(ratios[a, b], MIN_ROUNDS, ratios[a, c], margin).outcome in CLAIMS
    return triples, misled


def claims(said: str) -> bool:
    """Whether a verdict says that one is faster."""
    return "faster" in said or "slower" in said


def disjoint_pairs(blocks: dict[str, Rounds]) -> list[tuple[Rounds, Rounds]]:
    """Return pairs of copies of which no two share a worker."""
    copies = [seconds for seconds in blocks.values() if len(seconds) >= MIN_ROUNDS]
    return list(pairwise(copies))[::2]


def log_ratios(one: Rounds, other: Rounds) -> list[float]:
    """Return the log-ratio of each round."""
    return [math.log(pass_ratio(a, b)) for a, b in zip(one, other, strict=True)]


def sigmas(pieces: list[dict]) -> dict[str, float]:
    """Return the standard deviation of the per-round log-ratio, by framework and operation; its mean is 0."""
    squares: dict[str, list[float]] = {}
    for run in pieces:
        for operation, blocks in run["visits"].items():
            for pair in disjoint_pairs(blocks):
                found = squares.setdefault(f"{run['framework']} {operation}", [])
                found += [ratio**2 for ratio in log_ratios(*pair)]
    return {name: math.sqrt(statistics.fmean(values)) for name, values in squares.items()}


if __name__ == "__main__":
    main()
