"""Which number of a round's visits gives the ratio: how far off is each, and how much does it scatter?

NumPy behind a clock (``plugin/waiting.py``) against a copy, against one that waits 5 % of every call, and against
one whose every tenth call takes twice as long, on two operations; once as the machine is, once beside a neighbour
that this study starts: a process that is busy for 30 ms and sleeps for 30 ms, on average. What is true is known:
who trains for an hour with the uneven program waits 10 % longer. Undisturbed, its short calls take no longer; but
where a visit holds ten calls or more, each visit has a long one, and nothing that looks at visits can tell.

Seven minutes on 2 cores: ``python benchmarks/studies/estimators.py``
"""

import math
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from study import BASELINE, CONTROL, Study, options, round_visits, use_plugin

import ganbench
from ganbench.results.statistics import (
    Visits,
    half_width,
    hodges_lehmann,
    level,
    pass_logs,
    speed_ratio,
    trimmed_mean,
    undisturbed,
)

TARGETS = ("numpy_waits.0", "numpy_waits.5a", "numpy_waits.uneven")
TRUE = {CONTROL: 1.0, "numpy_waits.5a": 1 / 1.05, "numpy_waits.uneven": 1 / 1.1}
OPERATIONS = ("matmul", "gan_iteration")
LIMIT = 0.02


def interquartile_mean(logs: list[float]) -> float:
    """Return the mean of the middle half."""
    cut = len(logs) // 4
    return statistics.fmean(sorted(logs)[cut : len(logs) - cut])


def of_levels(of: Callable[[Visits], float]) -> Callable[[Visits, Visits], float]:
    """Return the estimator that divides two numbers, each of one worker's visits."""
    return lambda ours, theirs: math.log(of(ours) / of(theirs))


ESTIMATORS: dict[str, Callable[[Visits, Visits], float]] = {
    "trimmed mean of pairs": lambda a, b: trimmed_mean(pass_logs(a, b)),
    "median of pairs": lambda a, b: statistics.median(pass_logs(a, b)),
    "interquartile mean of pairs": lambda a, b: interquartile_mean(pass_logs(a, b)),
    "mean of pairs": lambda a, b: statistics.fmean(pass_logs(a, b)),
    "trimmed means divided": of_levels(level),
    "tenth percentiles divided": of_levels(undisturbed),
}
CHOSEN = "trimmed mean of pairs"


def main() -> None:
    parser = options("estimators", __doc__, resumable=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--neighbour", action="store_true", help="be the neighbour")
    chosen = parser.parse_args()
    if chosen.neighbour:
        disturb()
    rounds, preset = (2, "tiny") if chosen.short else (chosen.rounds, "mnist-mlp")
    operations = OPERATIONS[:1] if chosen.short else OPERATIONS
    study = Study(chosen, targets=TARGETS, operations=operations, preset=preset, rounds=rounds)
    use_plugin()
    for disturbed in (False, True)[len(study.pieces) :]:
        neighbour = subprocess.Popen([sys.executable, __file__, "--neighbour"]) if disturbed else None
        try:
            comparison = ganbench.compare(
                TARGETS, preset=preset, ops=operations, rounds=rounds, seed=int(disturbed), results=None, ceilings=False
            )
        finally:
            if neighbour is not None:
                neighbour.kill()
                neighbour.wait()
        study.add({"disturbed": disturbed, "visits": round_visits(comparison)})
        study.say("measured " + ("beside a neighbour" if disturbed else "as the machine is"))
    verdict = judge(study.pieces)
    for row in verdict["rows"]:
        print(in_words(row))
    study.conclude(verdict)


def disturb() -> None:
    """Be busy and idle in turns, until killed."""
    rng = random.Random(0)
    while True:
        until = time.perf_counter() + rng.expovariate(1 / 0.03)
        while time.perf_counter() < until:
            pass
        time.sleep(rng.expovariate(1 / 0.03))


def rows_of(pieces: list[dict]) -> list[dict]:
    """Return by how much each estimator is off, for each program, with and without a neighbour."""
    rows = []
    for piece in pieces:
        for operation, visits in piece["visits"].items():
            for name, of_rounds in visits.items():
                if name == BASELINE:
                    continue
                for estimator, of in ESTIMATORS.items():
                    found = hodges_lehmann([of(a, b) for a, b in zip(visits[BASELINE], of_rounds, strict=True)])
                    rows.append({
                        "disturbed": piece["disturbed"], "operation": operation, "target": name, "estimator": estimator,
                        "off": math.expm1(found.value - math.log(TRUE[name])),
                        "half_width": (found.high - found.low) / 2 if found.has_interval else None,
                    })  # fmt: skip
    return rows


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: the estimator in use is right about every program, with and without a neighbour."""
    rows = rows_of(pieces)
    calm = [
        speed_ratio(*([undisturbed(one) for one in piece["visits"]["gan_iteration"][name]]
                      for name in (BASELINE, "numpy_waits.uneven")))
        for piece in pieces if "gan_iteration" in piece["visits"]
    ]  # fmt: skip
    mine = [row for row in rows if row["estimator"] == CHOSEN]
    off = [abs(row["off"]) for row in mine]
    return {
        "passed": len(calm) > 1 and max(off) <= LIMIT and all(abs(math.log(one.value)) <= LIMIT for one in calm),
        "goal": f"the {CHOSEN} is right within {LIMIT:.0%} about a copy, a wait of 5 % and an uneven program, also "
        "beside a neighbour; undisturbed, the uneven program takes what the even one does",
        "measured": f"off by {max(off):.1%} at most, {statistics.median(off):.1%} in the median; undisturbed, the "
        "uneven program's ratio is " + ", ".join(f"{one.value:.3f} (± {half_width(one):.1%})" for one in calm)
        + "; median half-width "
        + ", ".join(f"{name} {_middle(rows, name):.1%}" for name in ESTIMATORS),
        "rows": rows,
    }  # fmt: skip


def _middle(rows: list[dict], estimator: str) -> float:
    return statistics.median(row["half_width"] or math.nan for row in rows if row["estimator"] == estimator)


def in_words(row: dict) -> str:
    """Return one row as it is printed."""
    width = f"± {row['half_width']:.1%}" if row["half_width"] else ""
    beside = "beside a neighbour" if row["disturbed"] else "as it is"
    case = f"{row['operation']:<14} {row['target']:<20} {beside:<19} {row['estimator']:<28}"
    return f"{case} off {row['off']:+6.1%} {width}"


if __name__ == "__main__":
    main()
