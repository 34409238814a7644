"""What ``ganbench report`` prints: the speeds of one context after another, that of the newest machine first."""

from collections.abc import Sequence

import pandas as pd
from rich.text import Text

from ..results.run import RunOf
from .chart_rows import Row, cells, within
from .picture import subtitle
from .relative import DERIVED, baseline_of, mean, no_run, relative
from .selection import contexts, select
from .table import STYLES, text
from .text import PAPER, Screen, fitting, grid, text_of

MEAN = "geometric mean"
MARKS = {"undecided": "?", "control failed": "?", DERIVED: "~"}
LEGEND = (
    "speed: baseline time / time, more than 1 is faster. ?: the noise is too large for a verdict. ~: from two medians "
    "that were not measured side by side. 'ganbench results show RUN' has the intervals and the reasons."
)


def overview(df: pd.DataFrame, baseline: str | None = None, screen: Screen = PAPER, run_of: RunOf = no_run) -> str:
    """Return the speeds of a table of ``load_results`` as text: tables of operations and targets for each context.

    ``baseline`` is a target; by default that of the newest run of each case. Raises ``UsageError`` where there are no
    rows or nothing was measured on ``baseline``.
    """
    found = select(df)
    baseline_of(found.rows, baseline)  # whether it was measured anywhere
    rows, by_baseline = cells(found), dict[str, list[Row]]()
    parts = []
    for context in contexts(rows):
        mine = within(rows, context)
        tables = []
        for own, cases in _by_baseline(mine, baseline).items():
            if own not in by_baseline:
                by_baseline[own] = cells(relative(found, own, run_of))
            shown = [row for row in within(by_baseline[own], context) if row["case"] in cases]
            tables += _speeds(shown, own, screen)
        parts.append(text_of(", ".join([subtitle(context), *_when(mine)]), screen))
        parts[-1] += "\n" + "\n\n".join([*tables, *_absent(mine, screen)])
    return "\n\n".join([*parts, *(text_of(note, screen) for note in (*found.notes, LEGEND))]) + "\n"


def _by_baseline(rows: Sequence[Row], asked: str | None) -> dict[str, list[str]]:
    """Return the cases of one context that have a row to show, by the target that their speeds are relative to."""
    found: dict[str, list[str]] = {}
    for case in dict.fromkeys(row["case"] for row in rows if row["word"] != "unavailable"):
        mine = [row for row in rows if row["case"] == case]
        own = asked or baseline_of(pd.DataFrame([row for row in mine if not row["word"]] or mine), None)
        found.setdefault(own, []).append(case)
    return found


def _when(rows: Sequence[Row]) -> list[str]:
    days = sorted(row["timestamp"][:10] for row in rows if row["timestamp"])
    return [days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"] if days else []


def _speeds(rows: Sequence[Row], baseline: str, screen: Screen) -> list[str]:
    """Return the tables of the cases of one context that have the same baseline, as many as its targets need."""
    seen = [row for row in rows if row["word"] != "unavailable"]
    cases, targets = (list(dict.fromkeys(row[name] for row in seen)) for name in ("case", "target"))
    targets.sort(key=lambda name: name != baseline)
    at = {(row["case"], row["target"]): row for row in rows}
    lines = [[case, *(_cell(at.get((case, target))) for target in targets)] for case in cases]
    means = [_mean([at.get((case, target)) for case in cases]) for target in targets]
    if len(cases) > 1 and any(means):
        lines.append([MEAN, *means])
    table = pd.DataFrame(lines, columns=[f"speed relative to {baseline}", *targets])
    parts = [(list(part), part.to_numpy().tolist()) for part in fitting(table, screen.width)]
    return [
        text_of(grid(names, [line for line in cells if any(line[1:])], right=names[1:]), screen)
        for names, cells in parts
    ]


def _absent(rows: Sequence[Row], screen: Screen) -> list[str]:
    """Return a line on the targets that were available nowhere in a context."""
    there = {row["target"] for row in rows if row["word"] != "unavailable"}
    absent = [name for name in dict.fromkeys(row["target"] for row in rows) if name not in there]
    nothing = "" if there else "nothing was measured; "
    return [text_of(f"{nothing}not available: {', '.join(absent)}", screen)] if absent else []


def _cell(row: Row | None) -> Text:
    """Return what stands in a cell, in the colour of its verdict or status."""
    if row is None:
        return Text()
    if row["word"]:
        shown = str(row["word"])
    elif row["ratio"] is None:
        shown = "no baseline"
    else:
        shown = "1" if row["verdict"] == "baseline" else text(row["ratio"], "ratio") + MARKS.get(row["verdict"], "")
    return Text(shown, STYLES.get(row["word"] or row["verdict"] or "", ""))


def _mean(rows: Sequence[Row | None]) -> str:
    """Return the mean of a target that has a speed in every case; '' of another, whose mean would say nothing."""
    return text(mean(None if row is None else row["ratio"] for row in rows), "ratio")
