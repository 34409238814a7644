"""The smaller tables of a run: how targets start, the memory and the energy that they take, how devices queue."""

import math
from typing import Any

import pandas as pd

from ..results.statistics import BAND
from .selection import has_time
from .table import declared, with_width

MEMORY_LEGEND = (
    "After import: memory once the framework is loaded. Peak above: how far it then rose. "
    "Needs: size of inputs and outputs."
)
QUEUE_LEGEND = (
    "one call: a single call, until its result is there. queued: many calls in a row. between events: the same by the "
    "device's own clock, with the gaps in which it waits for the host. held down: share of visits with a lowered clock."
)
PEAKS = ["host_peak_bytes", "device_peak_bytes"]
STARTS = ("import_s", "prepare_s", "first_run_s", "first_call_warm_s")


def start_of(rows: Any, first_call: str = "first_call_s") -> Any:
    """Return the seconds to start, of a row or of a table."""
    return rows["import_s"] + rows[first_call]


def break_even(start_a: float, per_a: float, start_b: float, per_b: float) -> float:
    """Return after how many iterations A, which starts in ``start_a`` seconds, has caught up with B.

    0 where A starts no later than B; infinity where it is not faster per iteration (by more than the band), or where a
    start is not known.
    """
    if start_a <= start_b:
        return 0.0
    if per_a >= per_b / (1 + BAND) or math.isnan(start_a - start_b):
        return math.inf
    return math.ceil((start_a - start_b) / (per_b - per_a))


def start_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, how each target starts on the largest operation; empty where nothing was timed.

    ``has caught up with`` names each target that starts sooner, and the iterations, from the start of both processes
    with an empty compile cache, after which this one is ahead.
    """
    timed = table[has_time(table)]
    if timed.empty or timed["import_s"].isna().all():
        return timed[:0]
    timed = _largest(timed)
    starts = list(zip(timed["target"], start_of(timed), timed["median_s"], strict=True))
    caught = []
    for _, *mine in starts:
        counts = {other: break_even(*mine, *theirs) for other, *theirs in starts}
        caught.append(", ".join(f"{other} after {n:,.0f}" for other, n in counts.items() if 0 < n < math.inf))
    return declared(timed, "start of", STARTS).assign(**{"has caught up with": caught})


def memory_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the peaks of each target on the largest operation; empty where none was recorded."""
    known = table[table[PEAKS].notna().any(axis=1)]
    if known.empty:
        return known
    shown = declared(_largest(known), "memory of", ("import_bytes", *PEAKS, "bytes"))
    return shown if shown["device peak"].any() else shown.drop(columns="device peak")


def energy_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the energy of each case; empty where none is known."""
    known = table[table["joules"].notna()]
    shown = declared(known, "energy of", ("joules", "joules_above_idle", "watts"))
    joules = [with_width(row, "joules", "joules_low", "joules_high") for row in known.to_dict("records")]
    return shown.assign(**{"per iteration": joules})


def queue_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, latency, throughput, device time and clock on devices that queue work; empty without any."""
    queued = table[table[["latency_s", "device_s"]].notna().any(axis=1)]
    shown = declared(queued, "operation", ("latency_s", "median_s", "device_s", "sm_mhz", "throttled"))
    return shown.rename(columns={"time": "queued"})


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the operation that takes most arithmetic."""
    return table[table["operation"] == table.groupby("operation", sort=False)["flops"].max().idxmax()]
