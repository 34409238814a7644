"""What it costs to start: imports, first calls, and after how many iterations the slower starter has caught up."""

import math
from collections.abc import Sequence

import pandas as pd

from ..results.statistics import BAND
from .table import seconds

QUEUE_LEGEND = (
    "one call: a single call, until its result is there. queued: many calls in a row. between events: the same by the "
    "device's own clock, with the gaps in which it waits for the host. held down: share of visits with a lowered clock."
)
COLUMNS = ("start of", "target", "import", "prepare", "first run", "warm cache", "has caught up with")


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
    timed = table[table["median_s"].notna()]
    if timed.empty or timed["import_s"].isna().all():
        return pd.DataFrame(columns=list(COLUMNS))
    timed = timed[timed["operation"] == timed.groupby("operation", sort=False)["flops"].max().idxmax()]
    starts = list(zip(timed["target"], timed["import_s"] + timed["first_call_s"], timed["median_s"], strict=True))
    rows = []
    for (target, *mine), row in zip(starts, timed.to_dict("records"), strict=True):
        counts = {other: break_even(*mine, *theirs) for other, *theirs in starts}
        caught = [f"{other} after {count:,.0f}" for other, count in counts.items() if 0 < count < math.inf]
        times = [seconds(row[name]) for name in ("import_s", "prepare_s", "first_run_s", "first_call_warm_s")]
        rows.append([row["operation"], target, *times, ", ".join(caught)])
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
