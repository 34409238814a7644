"""A run written in the format that was asked for: to be read, or by services that watch speed over time."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.text import Text

from ..results.case import service_name
from ..results.run import Run
from ..results.table import run_table
from .answer import answer
from .choices import EXCHANGE_FORMATS
from .formats import as_json, data
from .intervals import drawing
from .notes import details, remarks
from .relative import SURELY
from .start import MEMORY_LEGEND, QUEUE_LEGEND, energy_table, memory_table, queue_table, start_table
from .table import INTERVALS, MARKS, NUMBERS, STYLES, by_speed, heading, legend, summary, time
from .text import PAPER, Part, Screen, document, widths

# The smaller tables, each with what explains it.
SMALLER = {start_table: "", memory_table: MEMORY_LEGEND, queue_table: QUEUE_LEGEND, energy_table: ""}


def render(run: Run, form: str, with_details: bool = False, screen: Screen = PAPER) -> str:
    """Return a run in one of ``RUN_FORMATS`` or ``EXCHANGE_FORMATS``.

    The table shows what is asked; ``with_details`` adds how targets start, what memory they take, ceilings, floor and
    disturbance. The other formats always have them. Intervals are drawn where ``screen`` has room for them.
    """
    if form in EXCHANGE_FORMATS:
        return (bencher if form == EXCHANGE_FORMATS[0] else github_action)(run)
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
        return document(title, [Part(shown), *parts], [*notes, legend(shown), *last], form)
    reasons: dict[str, None] = {}  # each once, in order
    for row, (status, reason) in enumerate(table[["status", "reason"]].itertuples(index=False)):
        if status != "ok":
            reasons[f"{shown['target'].iloc[row]}: {status}: {reason}"] = None
            shown.loc[row, "verdict"] = "see below"
    shown = _narrowed(shown, screen.width)
    notes.append(legend(shown))
    drawn = drawing(table, screen.width - sum(widths(shown).values()) - 1)
    if len(drawn):
        shown.insert(list(shown).index("speed") + 1, drawn.name, drawn)
        notes.append(INTERVALS)
    words = table["verdict"].where(table["status"] == "ok", table["status"]).fillna("")
    lines = [_styled(line, word) for line, word in zip(shown.to_numpy().tolist(), words, strict=True)]
    first = Part(pd.DataFrame(lines, columns=shown.columns), wraps="verdict", right=NUMBERS, grouped=True)
    return document(title, [first, *parts], (*reasons, *notes, *last), form, screen)


def _narrowed(shown: pd.DataFrame, width: int) -> pd.DataFrame:
    """Return a table of ``summary`` that fits ``width``, if that can be: what answers least is left out first.

    A verdict may take a further line for what must be known besides, such as ``uneven``.
    """
    for name, behind in (("ceiling", ""), ("time", " ±"), ("speed", " [")):
        taken = widths(shown.assign(verdict=shown["verdict"].str.replace("; ", ";\n")))
        if sum(taken.values()) - 1 > width:
            cut = {name: [cell.partition(behind)[0] for cell in shown[name]]} if behind else {}
            shown = shown.assign(**cut) if behind else shown.drop(columns=name)
    return shown


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
        measures = {"latency": [row["median_s"] * 1e9, row["ci_low_s"] * 1e9, row["ci_high_s"] * 1e9]}
        if not math.isnan(row["ratio"]) and row["verdict"] != "baseline":
            measures["speed"] = [row["ratio"], row["ratio_low"], row["ratio_high"]]
        found[name] = {measure: _metric(*values) for measure, values in measures.items() if not math.isnan(values[0])}
    return as_json(found)


def github_action(run: Run) -> str:
    """Return the times of a run (ms) as github-action-benchmark takes them, with its tool ``customSmallerIsBetter``."""
    found = [{"name": name, "unit": "ms", "value": row["median_s"] * 1e3, **_extra(row)} for name, row in _timed(run)]
    return as_json(found)


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
