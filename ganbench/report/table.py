"""The table of one run: readable units, the ratio with its interval, and the reason wherever a number is missing."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..precision import titled
from ..results.records import RunHeader
from ..results.run import Run
from ..results.statistics import BAND, Estimate
from .relative import MAYBE, SURELY, fastest

COLUMNS = ("operation", "target", "time", "speed", "verdict", "ceiling")
NUMBERS = ("time", "ceiling")  # the columns that are set to the right
MARKS = {SURELY: "*", MAYBE: "(*)"}  # of the fastest
STYLES = {  # of a verdict or a status, on a terminal
    "faster": "green", "slower": "yellow", "same": "cyan", "undecided": "dim", "derived": "dim", "baseline": "",
    **dict.fromkeys(("control failed", "invalid", "impossible", "failed", "timeout", "out of memory"), "red"),
    **dict.fromkeys(("unavailable", "unsupported", "not timed"), "dim"),
}  # fmt: skip
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def seconds(value: float) -> str:
    """Return a time in the unit that leaves one to three digits before the point; '' for NaN."""
    if math.isnan(value):
        return ""
    scale, unit = next(((s, u) for s, u in UNITS if value >= s), UNITS[-1])
    shown = value / scale
    return f"{shown:.{0 if shown >= 100 else 1 if shown >= 10 else 2}f} {unit}"


def is_number(value: Any) -> bool:
    """Whether a cell holds a number rather than a status or nothing."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def text(value: Any, unit: str) -> str:
    """Return a cell as it is shown; ``unit`` is ``ratio``, ``seconds``, ``change``, ``time`` or ''."""
    if isinstance(value, str):
        return value
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if unit == "seconds":
        return seconds(float(value))
    if unit == "ratio":  # a hundredth is enough, except where it would leave no digit
        return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
    if unit == "change":
        return f"{value:+.1%}"
    return f"{value:%Y-%m-%d %H:%M}" if unit == "time" else str(value)


def summary(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``table``, that of ``run_table``, as text in ``COLUMNS``, with a mark at the fastest."""
    stars = marks(run, table)
    rows = [_row(entry, stars.get((entry["operation"], entry["target"]), "")) for _, entry in table.iterrows()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def marks(run: Run, table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return the mark of each case that is surely the fastest of its operation, or that may be."""
    found = zip(table["operation"], table["target"], fastest(table, lambda *_: run), strict=True)
    return {(operation, target): MARKS[word] for operation, target, word in found if word}


def _row(entry: "pd.Series[Any]", mark: str) -> dict[str, str]:
    shown = {"operation": entry["operation"], "target": entry["target"]}
    if entry["status"] != "ok":
        return dict.fromkeys(COLUMNS, "") | shown | {"time": entry["status"], "verdict": entry["reason"]}
    return shown | {
        "target": f"{entry['target']} {mark}".rstrip(),
        "time": time(entry),
        "speed": _speed(entry),
        "verdict": _verdict(entry),
        "ceiling": _ceiling(entry),
    }


def time(entry: "pd.Series[Any] | Mapping[Any, Any]") -> str:
    """Return a row's median with half its interval, such as ``5.56 ms ±12.3%``."""
    text = seconds(entry["median_s"])
    if math.isnan(entry["ci_low_s"]):
        return text
    return f"{text} ±{(entry['ci_high_s'] - entry['ci_low_s']) / 2 / entry['median_s']:.1%}"


def _speed(entry: "pd.Series[Any]") -> str:
    if math.isnan(entry["ratio"]):
        return ""
    if entry["verdict"] == "baseline":
        return "1"
    return Estimate(entry["ratio"], entry["ratio_low"], entry["ratio_high"]).shown("{:.2f}".format)


def _verdict(entry: "pd.Series[Any]") -> str:
    """Return the verdict, and what else must be known of a row."""
    notes = [] if pd.isna(entry["verdict"]) else [verdict(entry["verdict"], entry["detectable"], entry["rounds"])]
    if entry["reason"]:
        notes.append(str(entry["reason"]).partition(" (")[0])
    if entry["steady"] is False or entry["steady"] == False:  # noqa: E712 (pandas' own boolean)
        notes.append("unsteady")
    if not pd.isna(entry["uneven"]) and entry["uneven"]:
        notes.append("uneven")
    return "; ".join(notes)


def verdict(outcome: str, detectable: float, rounds: int) -> str:
    """Return an outcome in words: for one that is undecided, why, such as ``undecided (12%)``."""
    if outcome != "undecided":
        return outcome
    return (
        f"undecided ({rounds} round{'s' * (rounds != 1)})"
        if math.isnan(detectable)
        else f"undecided ({detectable:.0%})"
    )


def _ceiling(entry: "pd.Series[Any]") -> str:
    if math.isnan(entry["percent_of_ceiling"]):
        return ""
    return f"{entry['percent_of_ceiling']:.0f}% {entry['bound']}"


LEGEND = (
    "speed: baseline time / time [95 % interval]. ceiling: share of what the hardware can do.",
    "mark *: surely the fastest target. (*): these targets may be the fastest; they cannot be told apart.",
    f"same: within {BAND:.0%}. undecided (n%): too noisy to call; only differences of at least n% are detectable.",
)
INTERVALS = "drawn: | no difference, o the speed, - its interval, on a logarithmic axis between the two numbers above."


def heading(run: RunHeader) -> str:
    """Return the one line above a table: what was measured where."""
    model, precision = f"{run.spec.name} ({run.spec.describe()})", titled(run.dtype, run.precision)
    cold = ", cold caches" * (run.caches == "cold")
    return f"{model}, {precision}{cold}, {run.threads} thread{'s' * (run.threads != 1)}, {run.machine}, {run.rigor}"
