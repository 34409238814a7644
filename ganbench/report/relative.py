"""Who wins: speeds relative to any baseline, which targets may be the fastest, and mean speeds.

Nothing else decides it: every table, chart and page asks here. Where the visits of one run to both targets are known,
a speed is paired round by round and has an interval and a verdict. Otherwise it is the quotient of two medians, of one
run where possible, without an interval; its verdict is ``derived``.
"""

import dataclasses
import math
import statistics
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from ..errors import UsageError
from ..results.case import CASE
from ..results.run import Run, RunOf
from ..results.statistics import Verdict, judge, speed_ratio, verdict_of
from .selection import Selection, has_time, instead

DERIVED = "derived"  # the verdict on a quotient of medians
SPEED = ["ratio", "ratio_low", "ratio_high", "detectable", "verdict"]
MEAN = "geometric mean"
WORK = list(CASE[:-1])  # a case without its target
NEEDED = [*WORK, "run_id", "status", "median_s", "baseline", *SPEED]  # of older rows, what an outline has
SURELY, MAYBE = "surely", "maybe"
Row = Mapping[Hashable, Any]


def verdict(run: Run, operation: str, target: str, baseline: str) -> Verdict | None:
    """Return what may be said of ``target`` against ``baseline``; None where they share no round.

    The control of the run's own baseline stands for all, as it does in the run's table.
    """
    return verdict_of(run.copies(operation, baseline), run.copies(operation, target), run.control(operation))


def verdict_in_turns(base: Run, other: Run, operation: str, target: str) -> Verdict | None:
    """Return what may be said of a case in one run against the same in another, where rounds took turns; or None.

    Neither has a control in the other.
    """
    before, after = (run.levels(operation, target) if run.believed(operation, target) else {} for run in (base, other))
    if not (shared := before.keys() & after.keys()):
        return None
    levels = [[run[number] for number in sorted(shared)] for run in (before, after)]
    return judge(speed_ratio(*levels), len(shared), None)


def no_run(_machine: str, _run_id: str) -> None:
    """Where no run file is at hand."""


def baseline_of(rows: pd.DataFrame, asked: str | None) -> str:
    """Return the target that was asked for, or the baseline of the newest run, or the first target.

    Raises ``UsageError`` where the target that was asked for is not among those measured.
    """
    known = list(dict.fromkeys(_labels(rows)))
    if asked is None:
        runs = rows[rows["baseline"].isin(known)].sort_values("timestamp", kind="stable", na_position="first")
        return str(runs["baseline"].iloc[-1]) if len(runs) else str(known[0])
    if asked not in known:
        raise UsageError(f"baseline '{asked}' is not among the targets measured ({', '.join(known)})")
    return asked


def relative(found: Selection, baseline: str, run_of: RunOf = no_run) -> Selection:
    """Return the selection with the columns ``SPEED`` relative to ``baseline``, of runs that ``run_of`` finds."""
    return dataclasses.replace(found, rows=speeds(found.rows, baseline, run_of, found.older))


def speeds(rows: pd.DataFrame, baseline: str, run_of: RunOf, older: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return rows of ``load_results`` with the columns ``SPEED`` relative to ``baseline``.

    ``older`` has the rows in which the baseline's medians are looked for, those of older runs among them. Where there
    is none of its case, nor has the row a ratio.
    """
    medians = _medians(rows if older is None else older, baseline, rows["run_id"])
    told = []
    for label, row in zip(_labels(rows), rows[NEEDED].to_dict("records"), strict=True):
        case = tuple(row[name] for name in WORK)
        beside, median = medians.get((row["run_id"], *case)), medians.get(case)
        if instead(row):
            said = _unknown()
        elif label == baseline:
            said = _unknown(1.0, "baseline")
        else:
            said = _paired(row, label, baseline, run_of if beside else no_run) or _unknown()
            if said["verdict"] is None and median is not None:
                said = _unknown((beside or median) / row["median_s"], DERIVED)
        told.append(said)
    columns = pd.DataFrame(told, columns=SPEED, index=rows.index)
    return rows.assign(**columns.astype({name: rows[name].dtype for name in SPEED}))


def fastest(rows: pd.DataFrame, run_of: RunOf, older: pd.DataFrame | None = None) -> "pd.Series[str]":
    """Return for each row whether its target is ``surely`` the fastest of its case, or ``maybe``, or neither: ''.

    The target with the lowest median may be, and each that it is not surely faster than. One that was measured in
    another run may be, unless a target of that run, in ``older``, is surely faster. Where only one of a case has a
    time, there is nothing to be faster than. ``rows`` have the speeds that ``load_results`` gives them.
    """
    found = pd.Series("", rows.index, dtype=object)
    timed, there = (_timed(one) for one in (rows, rows if older is None else older))
    there = there[there["run_id"].isin(timed["run_id"])]
    beside: dict[tuple[Any, ...], list[str]] = {}
    for label, run_id, *case in there[["label", "run_id", *WORK]].itertuples(index=False):
        beside.setdefault((run_id, *case), []).append(label)
    ordered = timed.sort_values("median_s", kind="stable")
    of = dict(zip(ordered.index, ordered.to_dict("records"), strict=True))
    for what, group in ordered.groupby(WORK, sort=False, dropna=False):
        best, *others = map(of.__getitem__, group.index)
        beaten = [_beaten(best, one, beside.get((one["run_id"], *what), ()), run_of) for one in others]
        first = [group.index[0], *(at for at, so in zip(group.index[1:], beaten, strict=True) if not so)]
        if others:
            found.loc[first] = SURELY if len(first) == 1 else MAYBE
    return found


def mean(ratios: Iterable[float | None]) -> float:
    """Return the geometric mean of speeds; NaN where one is missing: it would be a mean over other operations."""
    known = [math.nan if ratio is None else ratio for ratio in ratios]
    return statistics.geometric_mean(known) if known and not any(map(math.isnan, known)) else math.nan


def _timed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is needed of the rows that have a time, with their labels."""
    needed = [name for name in (*NEEDED, "timestamp") if name in rows]
    return rows[needed].assign(label=_labels(rows))[has_time(rows)]


def _labels(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return the targets, without a version behind them."""
    return rows["label"] if "label" in rows else rows["target"]


def _medians(rows: pd.DataFrame, baseline: str, runs: "pd.Series[str]") -> dict[tuple[Any, ...], float]:
    """Return the baseline's medians by case in these ``runs``, and the newest of each case."""
    medians: dict[tuple[Any, ...], float] = {}
    mine = _timed(rows[_labels(rows) == baseline]).sort_values("timestamp", kind="stable", na_position="first")
    mine = mine[mine["run_id"].isin(runs) | ~mine.duplicated(WORK, keep="last")]
    for run_id, median, *case in mine[["run_id", "median_s", *WORK]].itertuples(index=False):
        medians[run_id, *case] = medians[tuple(case)] = median
    return medians


def _paired(row: Row, label: str, baseline: str, run_of: RunOf) -> dict[str, Any] | None:
    """Return what the rounds of a row's own run say of it; None where they say nothing."""
    if row["baseline"] == baseline and pd.notna(row["ratio"]):
        return {name: row[name] for name in SPEED}
    run = run_of(row["machine"], row["run_id"])
    said = None if run is None else verdict(run, row["operation"], label, baseline)
    return said and said.named("ratio")


def _beaten(best: Row, row: Row, beside: Iterable[str], run_of: RunOf) -> bool:
    """Whether the best is surely faster than a row, or where that is of another run, any target ``beside`` it."""
    if all(best[name] == row[name] for name in ("machine", "run_id")):
        said = _paired(best, best["label"], row["label"], run_of)
        return said is not None and said["verdict"] == "faster"
    run = run_of(row["machine"], row["run_id"])
    verdicts = (verdict(run, row["operation"], name, row["label"]) for name in beside if run and name != row["label"])
    return any(said is not None and said.outcome == "faster" for said in verdicts)


def _unknown(ratio: float = math.nan, word: str | None = None) -> dict[str, Any]:
    return {"ratio": ratio, "verdict": word}
