"""Text for the terminal: a title, aligned columns, notes below."""

import io
from collections.abc import Container, Iterable, Sequence
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .escape import visible

UNBOUNDED = 10_000  # columns for tables whose cells must not be broken


class Screen(NamedTuple):
    """What a text is made for: how many columns it may take, and whether it may have colours."""

    width: int = 100
    colours: bool = False


PAPER = Screen()


def page(title: str, grids: Iterable[Table], notes: Iterable[str], screen: Screen = PAPER) -> str:
    """Return a title, tables and notes as text as wide as ``screen``; only the title may be longer."""
    parts = [visible(title, keep="\n"), ""]
    for one in grids:
        parts += [text_of(one, screen), ""]
    return "\n".join([*parts, *(text_of(note, screen) for note in notes)]) + "\n"


def text_of(shown: Table | str, screen: Screen = PAPER) -> str:
    """Return a table or a sentence as lines of at most so many columns; styles of cells become colours, or nothing."""
    out = io.StringIO()
    system: Literal["standard"] | None = "standard" if screen.colours else None
    console = Console(
        file=out, width=screen.width, force_terminal=screen.colours, color_system=system, highlight=False,
        markup=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    console.print(visible(shown) if isinstance(shown, str) else shown)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def grid(
    names: Sequence[object], rows: Iterable[Sequence[object]], wraps: str = "", right: Container[object] = ()
) -> Table:
    """Return a table with aligned columns: ``wraps`` may break, those in ``right`` are set to the right.

    A row without cells is an empty line. There is no heading where all ``names`` are empty. A cell may be a ``Text``
    with a style.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="", show_edge=False, show_header=any(names))
    for name in names:
        table.add_column(visible(str(name)), justify="right" if name in right else "left", no_wrap=name != wraps)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else visible(str(cell), keep="\n") for cell in row))
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
