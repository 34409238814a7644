"""Does a target compared with itself under another name ever come out faster or slower?

Each run compares one framework with five copies of itself, the very same class under other names, on the five
default operations at quick rigor; the built-in control is a sixth copy. Every copy on every operation is one
comparison: 30 in a run, 210 in seven. A comparison is false if its row in the table says ``faster`` or
``slower``; the control has no row, so it is false where it would be said to have failed. The six of one run
and operation share their baseline, so they are not independent: the count is of rows that a user would read.
Beside it stand the intervals of disjoint pairs of copies, which share nothing, and have no control.

Six rounds is the fewest that decide anything, and what the quick profile reaches here within its budget.
From the repository's root, about 13 minutes on 2 cores: ``python benchmarks/studies/aa_verdicts.py``
"""

import math
import statistics
import time
from itertools import pairwise

from study import BASELINE, CONTROL, Study, options, round_blocks, upper_bound, use_plugin

import ganbench
from ganbench.operations import DEFAULT_OPERATIONS
from ganbench.results.statistics import MIN_ROUNDS, beyond_band, paired_speed, pass_ratio

FRAMEWORKS = ("numpy", "torch", "jax", "numpy", "torch", "jax", "numpy")  # one run each
COPIES = "abcde"
LEAST = 200
Rounds = list[list[float]]  # the seconds of the blocks of each round


def main() -> None:
    parser = options("aa_verdicts", __doc__, resumable=True)
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS)
    chosen = parser.parse_args()
    frameworks = FRAMEWORKS[:1] if chosen.short else FRAMEWORKS
    copies = COPIES[:2] if chosen.short else COPIES
    operations = ("batch_norm",) if chosen.short else DEFAULT_OPERATIONS
    preset = "tiny" if chosen.short else "mnist-mlp"
    study = Study(chosen, frameworks=frameworks, copies=copies, operations=operations, preset=preset,
                  rigor="quick", rounds=chosen.rounds)  # fmt: skip
    use_plugin()
    for number, framework in enumerate(frameworks):
        if number < len(study.pieces):
            continue
        start = time.monotonic()
        targets = [framework, *(f"{framework}_{letter}" for letter in copies)]
        comparison = ganbench.compare(
            targets, preset=preset, ops=operations, rounds=chosen.rounds, seed=number, results=None, ceilings=False
        )
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
    return {"framework": framework, "blocks": round_blocks(comparison), "verdicts": verdicts}


def judge(pieces: list[dict]) -> dict:
    """Return the verdict over all runs; what could not be compared (too few rounds, no row) does not count."""
    compared = false = kept_back = 0
    pairs = false_pairs = 0
    false_rows = []
    for run in pieces:
        for operation, blocks in run["blocks"].items():
            for name, seconds in blocks.items():
                if name == BASELINE or len(seconds) < MIN_ROUNDS:
                    continue
                compared += 1
                beyond = beyond_band(paired_speed(blocks[BASELINE], seconds))
                said = run["verdicts"].get(operation, {}).get(name, "")
                wrong = beyond if name == CONTROL else claims(said)
                kept_back += beyond and not wrong
                if wrong:
                    false += 1
                    false_rows.append([run["framework"], operation, name, said])
            for one, other in disjoint_pairs(blocks):
                pairs += 1
                false_pairs += beyond_band(paired_speed(one, other))
    bound = upper_bound(false, compared) if compared else 1.0
    return {
        "passed": compared >= LEAST and false == 0,
        "goal": f"0 false verdicts in at least {LEAST} comparisons of a target with itself, at quick rigor",
        "measured": f"{false} in {compared} (95 % upper bound {bound:.1%}); "
        f"{kept_back} more intervals beyond the band, kept back by the "
        f"margin or a failed control; of disjoint pairs {false_pairs} in {pairs} intervals beyond it",
        "compared": compared,
        "false": false,
        "false_rows": false_rows,
        "upper_bound": bound,
        "kept_back": kept_back,
        "disjoint_pairs": pairs,
        "false_disjoint_pairs": false_pairs,
    }


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
        for operation, blocks in run["blocks"].items():
            for pair in disjoint_pairs(blocks):
                found = squares.setdefault(f"{run['framework']} {operation}", [])
                found += [ratio**2 for ratio in log_ratios(*pair)]
    return {name: math.sqrt(statistics.fmean(values)) for name, values in squares.items()}


if __name__ == "__main__":
    main()
