"""A run written in the format that was asked for: to be read, or by services that watch speed over time."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.text import Text

from ..results.case import service_name
from ..results.run import Run
from ..results.table import run_table
from . import counted
from .answer import answer, answered
from .choices import EXCHANGE_FORMATS
from .escape import visible
from .formats import as_json, data
from .intervals import drawing
from .notes import details, remarks
from .relative import SURELY
from .selection import has_time
from .start import MEMORY_LEGEND, QUEUE_LEGEND, energy_table, memory_table, queue_table, start_table
from .table import INTERVALS, MARKS, NUMBERS, STYLES, by_speed, heading, legend, summary, time
from .text import PAPER, Part, Screen, document, narrowed, widths

# What is left out of a narrow table, in this order.
LEAST = (("ceiling", ""), ("time", " ±"), ("speed", " ["), ("operation", "\n"))
# The smaller tables, each with what explains it.
SMALLER = {start_table: "", memory_table: MEMORY_LEGEND, queue_table: QUEUE_LEGEND, energy_table: ""}


def render(run: Run, form: str, with_details: bool = False, screen: Screen = PAPER) -> str:
    """Return a run in one of ``RUN_FORMATS`` or ``EXCHANGE_FORMATS``.

    The table shows what is asked; ``with_details`` adds how targets start, what memory they take, ceilings, floor and
    disturbance. The other formats always have them. Intervals are drawn where ``screen`` has room for them.
    """
    if run.header.count:
        return counted.render(run, form, screen)
    if form in EXCHANGE_FORMATS:
        return dict(zip(EXCHANGE_FORMATS, (bencher, github_action, mermaid), strict=True))[form](run)
    table = run_table(run)
    if form in ("csv", "json"):
        return data(table.drop(columns="samples") if form == "csv" else table, form)
    table = by_speed(table)
    title, shown = heading(run.header), summary(run, table)
    notes, parts, explained = remarks(run, table), [], []
    if with_details or form == "markdown":
        notes += details(run, table)
        for made, meaning in SMALLER.items():
            if not (one := made(table)).empty:
                parts.append(Part(one, wraps=str(one.columns[-1])))
                explained += [meaning] * bool(meaning)
    last = [one for one in (*explained, answer(run, table)) if one]
    if form == "markdown":
        return document(title, [Part(shown), *parts], [*notes, " ".join(legend(shown)), *last], form)
    first, reasons, meanings = laid_out(table, shown, screen)
    return document(title, [first, *parts], (*reasons, *notes, " ".join(meanings), *last), form, screen)


def laid_out(table: pd.DataFrame, shown: pd.DataFrame, screen: Screen) -> tuple[Part, list[str], list[str]]:
    """Return a table as it fits a screen, with intervals drawn where there is room; ``shown`` is it in words.

    Besides: why something has no time, each reason once, and what the signs mean.
    """
    reasons: dict[str, None] = {}  # each once, in order
    for at, status, reason in table[["status", "reason"]].itertuples():
        if status != "ok":
            reasons[f"{shown.loc[at, 'target']}: {status}: {reason or ''}".removesuffix(": ")] = None
            shown.loc[at, "verdict"] = "see below"
    shown = narrowed(shown.map(visible), screen.width, LEAST)
    meanings = legend(shown)
    drawn = drawing(table, screen.width - sum(widths(shown).values()) - 1)
    if len(drawn):
        shown.insert(list(shown).index("speed") + 1, drawn.name, drawn)
        meanings.append(INTERVALS)
    words = table["verdict"].where(table["status"] == "ok", table["status"]).fillna("")
    lines = [_styled(line, word) for line, word in zip(shown.to_numpy().tolist(), words, strict=True)]
    part = Part(pd.DataFrame(lines, columns=shown.columns), wraps="verdict", right=NUMBERS, grouped=True)
    return part, list(reasons), meanings


def _styled(line: list[str], word: str) -> list[object]:
    """Return the cells of a line in the colour of its verdict or status; the target that is fastest is bold."""
    operation, target, *cells = line
    wins = "bold " * target.endswith(f" {MARKS[SURELY]}")
    return [operation, Text(target, wins), *(Text(cell, STYLES.get(word, "")) for cell in cells)]


def bencher(run: Run) -> str:
    """Return the times of a run (``latency``, ns) and its speeds (relative to the baseline) in Bencher's metric format.

    Lower and upper values are the ends of 95 % intervals.
    """
    found = {}
    for name, row in _timed(run):
        found[name] = {"latency": _metric(*(row[end] * 1e9 for end in ("median_s", "ci_low_s", "ci_high_s")))}
        if not math.isnan(row["ratio"]) and row["verdict"] != "baseline":
            found[name]["speed"] = _metric(row["ratio"], row["ratio_low"], row["ratio_high"])
    return as_json(found)


def github_action(run: Run) -> str:
    """Return the times of a run (ms) as github-action-benchmark takes them, with its tool ``customSmallerIsBetter``."""
    found = [{"name": name, "unit": "ms", "value": row["median_s"] * 1e3, **_extra(row)} for name, row in _timed(run)]
    return as_json(found)


def mermaid(run: Run) -> str:
    """Return the speeds of the operation that is answered for as a chart of Mermaid, which GitHub draws; '' of none."""
    table = by_speed(run_table(run))
    operation = answered(table.loc[table["status"] == "ok", "operation"])
    rows = table[(table["operation"] == operation) & table["ratio"].notna()]
    if rows.empty:
        return ""
    names, ratios = ", ".join(f'"{name}"' for name in rows["target"]), ", ".join(map("{:.3g}".format, rows["ratio"]))
    title = f"{operation}: speed relative to {run.header.baseline}, {run.header.machine}"
    return (
        f'xychart-beta horizontal\n  title "{title}"\n  x-axis [{names}]\n'
        f'  y-axis "more is faster" 0 --> {1.05 * rows["ratio"].max():.3g}\n  bar [{ratios}]\n'
    )


def left_out(run: Run) -> list[str]:
    """Return what such a file does not hold: each row that has no time, or an impossible one, with the reason."""
    table = run_table(run)
    rows = table[~has_time(table)].fillna({"reason": ""})
    return [
        f"left out: {row['operation']} on {row['target']}: {row['status']}: {row['reason']}".removesuffix(": ")
        for row in rows.to_dict("records")
    ]


def _timed(run: Run) -> Iterator[tuple[str, "pd.Series[Any]"]]:
    """Yield each row that has a time under a name that says all that must be the same from commit to commit."""
    table = run_table(run)
    for _, row in table[has_time(table)].iterrows():
        yield service_name(run.header, row), row


def _metric(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value} if math.isnan(low) else {"value": value, "lower_value": low, "upper_value": high}


def _extra(row: "pd.Series[Any]") -> dict[str, str]:
    _, sign, width = time(row).partition("±")
    found = {"range": sign + width} if sign else {}
    if not math.isnan(row["ratio"]):
        found["extra"] = f"speed {row['ratio']:.3f} relative to {row['baseline']}: {row['verdict']}"
    return found
