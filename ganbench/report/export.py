"""A comparison written in the format that was asked for."""

import io
import json

from rich.console import Console
from rich.table import Table

from ..comparison import Comparison
from ..records import RunHeader
from .table import LEGEND, control_line, heading, markdown, summary

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
    control = control_line(table)
    if form == "markdown":
        return "\n\n".join(part for part in (title, markdown(summary(table)), control, LEGEND) if part) + "\n"
    return _terminal(title, comparison, control)


def _terminal(title: str, comparison: Comparison, control: str) -> str:
    table = comparison.to_pandas()
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False)
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="", show_edge=False)
    shown = summary(table)
    for name in shown.columns:
        number = name in ("time", "first call", "GFLOP/s", "error")
        grid.add_column(name, justify="right" if number else "left", no_wrap=name != "verdict")
    notes: dict[str, None] = {}  # each reason once, in order
    before = None
    for row, (status, reason) in zip(
        shown.to_dict("records"), table[["status", "reason"]].itertuples(index=False), strict=True
    ):
        if status != "ok":
            notes[f"{row['target']}: {status}: {reason}"] = None
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
    for line in (*notes, control, LEGEND):
        if line:
            console.print(line)
    out = console.file
    assert isinstance(out, io.StringIO)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
