"""A comparison written in the format that was asked for."""

import io
import json
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from ..comparison import Comparison
from ..records import RunHeader
from .notes import notes
from .start import queue_table, start_table
from .table import LEGEND, NUMBERS, heading, markdown, summary

WIDTH = 100  # columns that a table may take where there is no terminal to ask


def render(comparison: Comparison, form: str) -> str:
    """Return a comparison as ``table``, ``markdown``, ``csv`` or ``json``."""
    table = comparison.to_pandas()
    if form == "csv":
        return str(table.drop(columns="samples").to_csv(index=False))
    if form == "json":
        # Not DataFrame.to_json: it rounds to ten decimals, which is four digits of a microsecond.
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return json.dumps(rows, indent=1, default=str, allow_nan=False) + "\n"
    header = comparison.records[0]
    assert isinstance(header, RunHeader)
    title = heading(header.spec, header.machine, header.dtype, header.threads, header.rigor)
    if form == "markdown":
        grids = [markdown(grid) for grid in (summary(table), *_further(table))]
        return "\n\n".join([title, *grids, *notes(comparison.records, table), LEGEND]) + "\n"
    return _terminal(title, comparison, table)


def _further(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the smaller tables under the first: how targets start, and how devices queue."""
    return [grid for grid in (start_table(table), queue_table(table)) if not grid.empty]


def _terminal(title: str, comparison: Comparison, table: pd.DataFrame) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False)
    shown = summary(table)
    grid = _grid(shown, wraps="verdict", to_the_right=NUMBERS)
    reasons: dict[str, None] = {}  # each once, in order
    before = None
    for row, (status, reason) in zip(
        shown.to_dict("records"), table[["status", "reason"]].itertuples(index=False), strict=True
    ):
        if status != "ok":
            reasons[f"{row['target']}: {status}: {reason}"] = None
            row["verdict"] = "see below"
        if row["operation"] == before:
            row["operation"] = ""
        elif before is not None:
            grid.add_row()
        before = row["operation"] or before
        grid.add_row(*(str(cell) for cell in row.values()))
    console.print(title, soft_wrap=True)
    console.print()
    console.print(grid)
    console.print()
    for further in _further(table):
        small = _grid(further, wraps=str(further.columns[-1]), to_the_right=())
        for cells in further.itertuples(index=False):
            small.add_row(*cells)
        console.print(small)
        console.print()
    for line in (*reasons, *notes(comparison.records, table), LEGEND):
        console.print(line)
    out = console.file
    assert isinstance(out, io.StringIO)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _grid(shown: pd.DataFrame, wraps: str, to_the_right: Sequence[str]) -> Table:
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="", show_edge=False)
    for name in shown.columns:
        grid.add_column(name, justify="right" if name in to_the_right else "left", no_wrap=name != wraps)
    return grid
