"""A run for services that watch speed over time: Bencher, and github-action-benchmark."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from ..results.case import service_name
from ..results.run import Run
from ..results.table import run_table
from .choices import EXCHANGE_FORMATS
from .table import time


def bencher(run: Run) -> str:
    """Return the times of a run (``latency``, ns) and its speeds (relative to the baseline) in Bencher's metric format.

    Lower and upper values are the ends of 95 % intervals.
    """
    found = {}
    for name, row in _timed(run):
        measures = {"latency": [row["median_s"] * 1e9, row["ci_low_s"] * 1e9, row["ci_high_s"] * 1e9]}
        if row["verdict"] != "baseline":
            measures["speed"] = [row["ratio"], row["ratio_low"], row["ratio_high"]]
        found[name] = {measure: _metric(*values) for measure, values in measures.items() if not math.isnan(values[0])}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def github_action(run: Run) -> str:
    """Return the times of a run (ms) as github-action-benchmark takes them, with its tool ``customSmallerIsBetter``."""
    found = [{"name": name, "unit": "ms", "value": row["median_s"] * 1e3, **_extra(row)} for name, row in _timed(run)]
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def left_out(run: Run) -> list[str]:
    """Return what such a file cannot hold: each row that has no time, with the reason."""
    table = run_table(run)
    rows = table[table["median_s"].isna()].fillna({"reason": ""})
    return [
        f"left out: {row['operation']} on {row['target']}: {row['status']}: {row['reason']}".removesuffix(": ")
        for row in rows.to_dict("records")
    ]


def _timed(run: Run) -> Iterator[tuple[str, "pd.Series[Any]"]]:
    """Yield each row that has a time under a name that says all that must be the same from commit to commit."""
    table = run_table(run)
    for _, row in table[table["median_s"].notna()].iterrows():
        yield service_name(run.header, row), row


def _metric(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value} if math.isnan(low) else {"value": value, "lower_value": low, "upper_value": high}


def _extra(row: "pd.Series[Any]") -> dict[str, str]:
    _, sign, width = time(row).partition("±")
    found = {"range": sign + width} if sign else {}
    if not math.isnan(row["ratio"]):
        found["extra"] = f"speed {row['ratio']:.3f} relative to {row['baseline']}: {row['verdict']}"
    return found


FORMATS: dict[str, Callable[[Run], str]] = dict(zip(EXCHANGE_FORMATS, (bencher, github_action), strict=True))
