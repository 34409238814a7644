"""A run written in the format that was asked for."""

import json

import pandas as pd

from ..results.run import Run
from ..results.table import run_table
from . import memory
from .notes import details, remarks
from .page import by_operation, grid, page
from .start import queue_table, start_table
from .table import LEGEND, NUMBERS, heading, markdown, summary


def render(run: Run, form: str, with_details: bool = False) -> str:
    """Return a run in one of ``RUN_FORMATS``.

    The table shows what is asked; ``with_details`` adds how targets start, what memory they take, ceilings, floor and
    disturbance. The other formats always have them.
    """
    table = run_table(run)
    if form == "csv":
        return str(table.drop(columns="samples").to_csv(index=False))
    if form == "json":
        # Not DataFrame.to_json: it rounds to ten decimals, which is four digits of a microsecond.
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return json.dumps(rows, indent=1, default=str, allow_nan=False) + "\n"
    title, shown, legend = heading(run.header), summary(table), list(LEGEND)
    further = _further(table) if with_details or form == "markdown" else []
    notes = remarks(run, table)
    if with_details or form == "markdown":
        notes += details(run, table)
        legend += [] if memory.memory_table(table).empty else [memory.LEGEND]
    if form == "markdown":
        return "\n\n".join([title, *map(markdown, (shown, *further)), *notes, *legend]) + "\n"
    reasons: dict[str, None] = {}  # each once, in order
    for row, (status, reason) in enumerate(table[["status", "reason"]].itertuples(index=False)):
        if status != "ok":
            reasons[f"{shown['target'].iloc[row]}: {status}: {reason}"] = None
            shown.loc[row, "verdict"] = "see below"
    grids = [grid(list(shown), by_operation(shown.to_numpy().tolist()), "verdict", NUMBERS)]
    grids += [grid(list(one), one.to_numpy().tolist(), str(one.columns[-1])) for one in further]
    return page(title, grids, (*reasons, *notes, *legend))


def _further(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the smaller tables: how targets start, what memory they take, how devices queue."""
    return [one for one in (start_table(table), memory.memory_table(table), queue_table(table)) if not one.empty]
