"""What it costs to start: imports, first calls, and after how many iterations the slower starter has caught up."""

import math
from collections.abc import Sequence

import pandas as pd

from ..results.statistics import BAND
from .table import seconds

QUEUE_LEGEND = (
    "one call: waited for alone. queued: calls in a row. between events: the same on the device's own clock, gaps in "
    "which it waits for the host included. held down: share of visits with a lowered clock."
)
COLUMNS = ("start of", "target", "import", "prepare", "first run", "warm cache", "has caught up with")


def break_even(start_a: float, per_a: float, start_b: float, per_b: float) -> float:
    """Return after how many iterations A, which starts in ``start_a`` seconds, has caught up with B.

    0 where A starts no later than B; infinity where it is not faster per iteration (by more than the band).
    """
    if start_a <= start_b:
        return 0.0
    if per_a >= per_b / (1 + BAND):
        return math.inf
    return math.ceil((start_a - start_b) / (per_b - per_a))


def break_evens(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each operation and each pair in which the later starter is faster when it catches up.

    ``cold`` counts import and first call with an empty compile cache, ``warm`` with a filled one; both in
    iterations from the start of both processes.
    """
    rows = []
    for operation, group in table[table["median_s"].notna()].groupby("operation", sort=False):
        for _, a in group.iterrows():
            for _, b in group.iterrows():
                counts = {}
                for name, column in (("cold", "first_call_s"), ("warm", "first_call_warm_s")):
                    starts = [row["import_s"] + row[column] for row in (a, b)]
                    if not any(math.isnan(start) for start in starts):
                        counts[name] = break_even(starts[0], a["median_s"], starts[1], b["median_s"])
                if 0 < counts.get("cold", 0) < math.inf:
                    rows.append({"operation": operation, "target": a["target"], "other": b["target"], **counts})
    return pd.DataFrame(rows, columns=["operation", "target", "other", "cold", "warm"])


def start_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, how each target starts on the largest operation; empty where nothing was timed."""
    timed = table[table["median_s"].notna()]
    if timed.empty or timed["import_s"].isna().all():
        return pd.DataFrame(columns=list(COLUMNS))
    operation = timed.groupby("operation", sort=False)["flops"].max().idxmax()
    pairs = break_evens(timed[timed["operation"] == operation])
    rows = []
    for _, row in timed[timed["operation"] == operation].iterrows():
        mine = pairs[pairs["target"] == row["target"]]
        caught = [f"{other} after {cold:,.0f}" for other, cold in zip(mine["other"], mine["cold"], strict=True)]
        times = [seconds(row[name]) for name in ("import_s", "prepare_s", "first_run_s", "first_call_warm_s")]
        rows.append([operation, row["target"], *times, ", ".join(caught)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def queue_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, latency, throughput, device time and clock on devices that queue work; empty without any."""
    times = ("latency_s", "median_s", "device_s")
    rows: Sequence[list[str]] = [
        [row["operation"], row["target"], *(seconds(row[name]) for name in times), *_clock(row)]
        for _, row in table[table[["latency_s", "device_s"]].notna().any(axis=1)].iterrows()
    ]
    return pd.DataFrame(
        rows, columns=["operation", "target", "one call", "queued", "between events", "clock", "held down"]
    )


def _clock(row: "pd.Series[float]") -> tuple[str, str]:
    """Return the clock of a GPU, and at which share of the visits it was held down."""
    clock, held = row["sm_mhz"], row["throttled"]
    return "" if math.isnan(clock) else f"{clock:.0f} MHz", "" if math.isnan(held) else f"{held:.0%}"
