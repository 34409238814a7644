"""Speeds relative to any baseline: those measured beside it, and for the rest the quotient of two medians."""

import dataclasses
import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from ..errors import UsageError
from ..results.case import CASE
from .selection import Selection, instead

DERIVED = "derived"  # the verdict on a quotient of medians
SPEED = ("ratio", "ratio_low", "ratio_high", "verdict")
Medians = dict[tuple[Any, ...], float]


def baseline_of(rows: pd.DataFrame, asked: str | None) -> str:
    """Return the target that was asked for, or the baseline of the newest run, or the first target.

    Raises ``UsageError`` where the target that was asked for is not among those measured.
    """
    known = list(dict.fromkeys(rows["label"]))
    if asked is None:
        runs = rows[rows["baseline"].isin(known)].sort_values("timestamp", kind="stable", na_position="first")
        return str(runs["baseline"].iloc[-1]) if len(runs) else str(known[0])
    if asked not in known:
        raise UsageError(f"baseline '{asked}' is not among the targets measured ({', '.join(known)})")
    return asked


def relative(found: Selection, baseline: str) -> Selection:
    """Return the selection with ``ratio``, its interval and ``verdict`` relative to ``baseline``.

    What was not measured against it has the quotient of two medians, of one run where possible, without an interval;
    its verdict is ``derived``. Where the baseline has no median, nor has the row a ratio.
    """
    medians = _medians(found.older, baseline)
    told = [_speed(row, baseline, medians) for row in found.rows.to_dict("records")]
    columns = pd.DataFrame(told, columns=list(SPEED), index=found.rows.index)
    numbers = columns[list(SPEED[:3])].astype("float64")
    return dataclasses.replace(found, rows=found.rows.assign(**numbers, verdict=columns["verdict"].astype(object)))


def _medians(rows: pd.DataFrame, baseline: str) -> Medians:
    """Return the baseline's medians by run and case, and the newest of each case."""
    mine = rows[(rows["label"] == baseline) & (rows["status"] == "ok") & rows["median_s"].notna()]
    medians: Medians = {}
    for row in mine.sort_values("timestamp", kind="stable", na_position="first").to_dict("records"):
        case = _case(row)
        medians[row["run_id"], *case] = medians[case] = row["median_s"]
    return medians


def _speed(row: Mapping[Hashable, Any], baseline: str, medians: Medians) -> tuple[Any, ...]:
    none = (math.nan, math.nan)
    if instead(row):
        return math.nan, *none, ""
    if row["label"] == baseline:
        return 1.0, *none, "baseline"
    if row["baseline"] == baseline and pd.notna(row["ratio"]):
        return tuple(row[name] for name in SPEED)
    case = _case(row)
    median = medians.get((row["run_id"], *case), medians.get(case))
    return (math.nan, *none, "") if median is None else (median / float(row["median_s"]), *none, DERIVED)


def _case(row: Mapping[Hashable, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CASE[:-1])
