"""Text for the terminal: a title, aligned columns, notes below."""

import io
from collections.abc import Container, Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table

WIDTH = 100  # columns that a page may take
UNBOUNDED = 10_000  # columns for tables whose cells must not be broken


def page(title: str, grids: Iterable[Table], notes: Iterable[str]) -> str:
    """Return a title, tables and notes as text of at most ``WIDTH`` columns; only the title may be longer."""
    parts = [title, ""]
    for one in grids:
        parts += [text_of(one), ""]
    return "\n".join([*parts, *map(text_of, notes)]) + "\n"


def text_of(shown: RenderableType, width: int = WIDTH) -> str:
    """Return a table or a sentence as lines of at most ``width`` columns."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(shown)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def grid(
    names: Sequence[object], rows: Iterable[Sequence[object]], wraps: str = "", right: Container[object] = ()
) -> Table:
    """Return a table with aligned columns: ``wraps`` may break, those in ``right`` are set to the right.

    A row without cells is an empty line. There is no heading where all ``names`` are empty.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="", show_edge=False, show_header=any(names))
    for name in names:
        table.add_column(str(name), justify="right" if name in right else "left", no_wrap=name != wraps)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def by_operation(rows: Iterable[Sequence[object]]) -> list[Sequence[object]]:
    """Return rows whose first cell, the operation, stands once in each group, with an empty row between groups."""
    grouped: list[Sequence[object]] = []
    before = None
    for name, *cells in rows:
        grouped += [[]] * (before not in (None, name))
        grouped.append(["" if name == before else name, *cells])
        before = name
    return grouped
