"""Do two runs of the same comparison, at full rigor, give the same ratio?

Twenty runs compare NumPy with PyTorch on three operations; all 190 pairs of runs are looked at. How near they
can be follows from the standard deviation sigma of the per-round log-ratio: with n rounds the ratio has a
standard error of about sigma / sqrt(0.955 n) (0.955: the efficiency of Hodges–Lehmann on normal noise), so
the share of pairs within 2 % is predicted from sigma, and the rounds that 95 % would need. Where fewer pairs
agree than predicted, the machine changed between runs: no number of rounds inside one run shows that.

A full run may take 300 s. For 20 of them on two targets and three operations less is enough: the default budget
is 110 s, 37 minutes in all. ``python benchmarks/studies/repeatability.py [--resume]``
"""

import math
import statistics
import time
from itertools import combinations

from study import BASELINE, CONTROL, Study, log_ratios, options, round_visits, stop

import ganbench
from ganbench.results.statistics import BAND, hodges_lehmann

TARGETS, OPERATIONS = ("numpy", "torch"), ("matmul", "adam_step", "gan_iteration")
SHARE = 0.95
RUNS = 20
EFFICIENCY = 3 / math.pi


def main() -> None:
    parser = options("repeatability", __doc__, resumable=True)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--budget", type=float, default=110.0, help="seconds of one run")
    chosen = parser.parse_args()
    runs, operations = (2, OPERATIONS[:1]) if chosen.short else (chosen.runs, OPERATIONS)
    preset = "tiny" if chosen.short else "mnist-mlp"
    study = Study(chosen, targets=TARGETS, operations=operations, preset=preset, rigor="full", runs=runs,
                  budget_s=chosen.budget)  # fmt: skip
    for number in range(len(study.pieces), runs):
        start = time.monotonic()
        comparison = ganbench.compare(
            TARGETS, preset=preset, ops=operations, rigor="quick" if chosen.short else "full", budget_s=chosen.budget,
            rounds=2 if chosen.short else None, seed=number, results=None, ceilings=False,
        )  # fmt: skip
        wrong = [one for one in comparison.measurements if one.status != "ok"]
        if wrong:
            one = wrong[0]
            stop(f"run {number + 1}: {one.operation} on {one.target} in round {one.round}: {one.status}: {one.reason}")
        blocks = round_visits(comparison)
        study.add({"run": number, "ended": comparison.ended.how, "visits": blocks, "seconds": time.monotonic() - start})
        study.say(f"run {number + 1} of {runs}: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: for every operation, how many pairs of runs agree within the band."""
    operations = {name: repeats(pieces, name) for name in (pieces[0]["visits"] if pieces else ())}
    enough = len(pieces) >= RUNS
    passed = enough and bool(operations) and all(one["share"] >= SHARE for one in operations.values())
    said = [
        f"{name}: {one['share']:.1%} of {one['pairs']} pairs (sigma {one['sigma']:.1%}, {one['rounds']:.0f} rounds: "
        f"{one['predicted']:.1%} predicted; {SHARE:.0%} needs {one['rounds_needed']} rounds, "
        f"{one['budget_needed_s']:.0f} s)"
        for name, one in operations.items()
    ]
    return {
        "passed": passed,
        "goal": f"two of {RUNS} full runs give ratios within {BAND:.0%} in at least {SHARE:.0%} of pairs",
        "measured": "; ".join(said),
        "operations": operations,
    }


def repeats(pieces: list[dict], operation: str) -> dict:
    """Return what is observed and predicted for one operation."""
    visits = [run["visits"][operation] for run in pieces]
    runs = [log_ratios([one[BASELINE], one[CONTROL]], one[TARGETS[1]]) for one in visits]
    values = [hodges_lehmann(ratios).value for ratios in runs]
    apart = [abs(a - b) for a, b in combinations(values, 2)]
    within = sum(difference <= math.log1p(BAND) for difference in apart)
    sigma = math.sqrt(statistics.fmean(statistics.variance(ratios) for ratios in runs))
    rounds = statistics.fmean(len(ratios) for ratios in runs)
    seconds = statistics.fmean(run["seconds"] for run in pieces)
    needed = rounds_needed(sigma)
    return {
        "values": values,
        "pairs": len(apart),
        "within": within,
        "share": within / len(apart) if apart else 0.0,
        "sigma": sigma,
        "rounds": rounds,
        "predicted": predicted_share(sigma, rounds),
        "spread_between_runs": statistics.stdev(values) if len(values) > 1 else 0.0,
        "spread_predicted": standard_error(sigma, rounds),
        "rounds_needed": needed,
        "budget_needed_s": needed * seconds / rounds,
    }


def standard_error(sigma: float, rounds: float) -> float:
    """Return the standard error of the Hodges–Lehmann estimate under normal noise."""
    return sigma / math.sqrt(EFFICIENCY * rounds)


def predicted_share(sigma: float, rounds: float) -> float:
    """Return the probability that two such estimates differ by no more than the band."""
    return math.erf(math.log1p(BAND) / (2 * standard_error(sigma, rounds))) if sigma else 1.0


def rounds_needed(sigma: float) -> int:
    """Return the rounds with which ``SHARE`` of pairs lie within the band."""
    quantile = statistics.NormalDist().inv_cdf((1 + SHARE) / 2)
    return max(1, math.ceil((quantile * math.sqrt(2) * sigma / math.log1p(BAND)) ** 2 / EFFICIENCY))


if __name__ == "__main__":
    main()
