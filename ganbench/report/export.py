"""A comparison written in the format that was asked for."""

import json

import pandas as pd

from ..results.run import Run
from ..results.table import run_table
from . import memory
from .notes import notes
from .page import grid, page
from .start import queue_table, start_table
from .table import LEGEND, NUMBERS, heading, markdown, summary


def render(run: Run, form: str) -> str:
    """Return a comparison as ``table``, ``markdown``, ``csv`` or ``json``."""
    table = run_table(run)
    if form == "csv":
        return str(table.drop(columns="samples").to_csv(index=False))
    if form == "json":
        # Not DataFrame.to_json: it rounds to ten decimals, which is four digits of a microsecond.
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return json.dumps(rows, indent=1, default=str, allow_nan=False) + "\n"
    title = heading(run.header)
    if form == "markdown":
        grids = [markdown(grid) for grid in (summary(table), *_further(table))]
        return "\n\n".join([title, *grids, *notes(run, table), *_legends(table)]) + "\n"
    return _terminal(title, run, table)


def _further(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the smaller tables under the first: how targets start, what memory they take, how devices queue."""
    return [grid for grid in (start_table(table), memory.memory_table(table), queue_table(table)) if not grid.empty]


def _legends(table: pd.DataFrame) -> list[str]:
    return [LEGEND] if memory.memory_table(table).empty else [LEGEND, memory.LEGEND]


def _terminal(title: str, run: Run, table: pd.DataFrame) -> str:
    shown = summary(table)
    reasons: dict[str, None] = {}  # each once, in order
    for row, (status, reason) in enumerate(table[["status", "reason"]].itertuples(index=False)):
        if status != "ok":
            reasons[f"{shown['target'].iloc[row]}: {status}: {reason}"] = None
            shown.loc[row, "verdict"] = "see below"
    grids = [grid(shown, "verdict", NUMBERS, grouped=True)]
    grids += [grid(further, str(further.columns[-1])) for further in _further(table)]
    return page(title, grids, (*reasons, *notes(run, table), *_legends(table)))
