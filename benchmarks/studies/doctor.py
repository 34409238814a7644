"""Is what ``ganbench doctor`` says of this machine true?

Its trial, NumPy against itself for some 20 s, forecasts which differences a default run will detect. Then such a
run is made, and the forecast held against what its rows say that they could detect: those of NumPy against its own
copy, whose noise the trial has seen, and those of the other frameworks, which may scatter more.

Three times, six minutes on 2 cores: ``python benchmarks/studies/doctor.py``
"""

import math
import statistics

from study import Study, options

import ganbench
from ganbench.cli.doctor import OPERATIONS, REACHED, forecast, measured
from ganbench.results.statistics import Estimate, detectable, half_width

BACKENDS = ("numpy", "torch", "jax")
TIMES, FACTOR, NEAR = 3, 2.0, 0.75


def main() -> None:
    parser = options("doctor", __doc__, resumable=True)
    chosen = parser.parse_args()
    times, rounds, preset = (1, 2, "tiny") if chosen.short else (TIMES, None, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, operations=OPERATIONS, preset=preset, times=times)
    for number in range(len(study.pieces), times):
        _, found = measured(2) if chosen.short else measured()
        forecasts = {name: forecast(one, *REACHED["a default run"]) for name, one in found.items()}
        table = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, results=None, ceilings=False).to_pandas()
        study.add({"forecasts": forecasts, "rows": list(rows_of(table))})
        study.say(f"{number + 1} of {times}: " + ", ".join(f"{name} {one:.0%}" for name, one in forecasts.items()))
    study.conclude(judge(study.pieces))


def rows_of(table):
    """Yield what each row could detect; the control's is that of its own interval."""
    for row in table[table["operation"].isin(OPERATIONS)].itertuples():
        able = row.detectable
        if row.verdict == "baseline":
            able = detectable(half_width(Estimate(row.control_ratio, row.control_low, row.control_high)))
        yield {"operation": row.operation, "target": row.target, "detectable": able if math.isfinite(able) else None}


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: over all runs the control's own figures are what was forecast, within a factor of two."""
    of = {True: [], False: []}
    for piece in pieces:
        for row in piece["rows"]:
            if row["detectable"] is not None and row["operation"] in piece["forecasts"]:
                of[row["target"] == BACKENDS[0]].append(row["detectable"] / piece["forecasts"][row["operation"]])
    own, others = (statistics.median(found) if found else math.nan for found in of.values())
    near, all_ = sum(1 / FACTOR <= one <= FACTOR for one in of[True]), len(of[True])
    return {
        "passed": all_ >= TIMES * len(OPERATIONS) and near >= NEAR * all_,
        "goal": f"in {NEAR:.0%} of cases what NumPy against itself could detect in a default run is what was forecast, "
        f"within a factor of {FACTOR:g}",
        "measured": f"{near} of {all_} within it, the median {own:.2f} times the forecast; other frameworks "
        f"{others:.2f} times",
    }  # fmt: skip


if __name__ == "__main__":
    main()
