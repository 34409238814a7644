"""Tables for the terminal: a title, aligned columns, notes below."""

import io
from collections.abc import Container, Iterable

import pandas as pd
from rich.console import Console
from rich.table import Table

WIDTH = 100  # columns that a table may take where there is no terminal to ask


def page(title: str, grids: Iterable[Table], notes: Iterable[str]) -> str:
    """Return a title, tables and notes as text of at most ``WIDTH`` columns; only the title may be longer."""
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False, markup=False)
    console.print(title, soft_wrap=True)
    console.print()
    for grid in grids:
        console.print(grid)
        console.print()
    for note in notes:
        console.print(note)
    out = console.file
    assert isinstance(out, io.StringIO)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def grid(shown: pd.DataFrame, wraps: str, right: Container[str] = (), grouped: bool = False) -> Table:
    """Return text as a table: its column ``wraps`` may break, those in ``right`` are set to the right.

    ``grouped`` names each operation once, with an empty line before the next.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="", show_edge=False)
    for name in shown.columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name != wraps)
    before = None
    for row in shown.to_dict("records"):
        if grouped and row["operation"] == before:
            row["operation"] = ""
        elif grouped and before is not None:
            table.add_row()
        before = row.get("operation") or before
        table.add_row(*(str(cell) for cell in row.values()))
    return table
