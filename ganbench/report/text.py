"""Reports as text: a title, tables, notes below them, aligned for a terminal or as Markdown."""

import io
import itertools
import operator
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .escape import visible

if TYPE_CHECKING:
    import pandas as pd

UNBOUNDED = 10_000  # columns for tables whose cells must not be broken


class Screen(NamedTuple):
    """What a text is made for: how many columns it may take, and whether it may have colours."""

    width: int = 100
    colours: bool = False


PAPER = Screen()


class Part(NamedTuple):
    """A table of text in a report, with a line above and a line below it.

    ``wraps`` is a column that may break, ``right`` are those set to the right. A table that is too wide is cut, its
    first ``repeated`` columns before each piece, unless these are 0. ``grouped``: each first cell stands once.
    """

    table: "pd.DataFrame"
    heading: str = ""
    wraps: str = ""
    right: Container[object] = ()
    repeated: int = 0
    grouped: bool = False
    below: str = ""


def document(title: str, parts: Iterable[Part], notes: Iterable[str], form: str, screen: Screen = PAPER) -> str:
    """Return a report as ``markdown``, or as ``table``: text as wide as ``screen``."""
    if form == "markdown":
        shown = [block for part in parts for block in (part.heading, markdown(part.table), part.below) if block]
        return "\n\n".join([*title.splitlines(), *shown, *notes]) + "\n"
    lines = [*(text_of(line, screen) for line in title.splitlines()), ""]
    for part in parts:
        lines += [text_of(part.heading, screen)] * bool(part.heading)
        for piece in fitting(part.table, screen.width, part.repeated) if part.repeated else [part.table]:
            cells = piece.to_numpy(dtype=object).tolist()
            rows = by_operation(cells) if part.grouped else cells
            lines += [text_of(grid(list(piece), rows, part.wraps, part.right), screen), ""]
        if part.below:
            lines[-1:] = [text_of(part.below, screen), ""]
    return "\n".join([*lines, *(text_of(note, screen) for note in notes)]) + "\n"


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
    table = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="", show_edge=False, show_header=any(names)
    )  # fmt: skip
    for name in names:
        table.add_column(visible(str(name)), justify="right" if name in right else "left", no_wrap=name != wraps)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else visible(str(cell), keep="\n") for cell in row))
    return table


def by_operation(rows: Iterable[Sequence[object]]) -> list[Sequence[object]]:
    """Return rows whose first cell, the operation, stands once in each group, with an empty row between groups."""
    grouped: list[Sequence[object]] = []
    for _, (first, *others) in itertools.groupby(rows, key=operator.itemgetter(0)):
        grouped += [*[[]] * bool(grouped), first, *(["", *cells] for _, *cells in others)]
    return grouped


def widths(shown: "pd.DataFrame") -> dict[Hashable, int]:
    """Return how many columns of letters each column of a table of text takes, with the space behind it."""
    cells = {name: [line for cell in (name, *shown[name]) for line in str(cell).split("\n")] for name in shown}
    return {name: max(map(len, lines)) + 1 for name, lines in cells.items()}


def narrowed(shown: "pd.DataFrame", width: int, steps: Iterable[tuple[str, str]]) -> "pd.DataFrame":
    """Return a table of text that fits ``width``, if that can be: what answers least is left out first.

    A step names a column and the sign behind which its cells end, or '' for the whole column, or a line break where a
    cell goes on in the next line instead. A verdict may take a further line for what must be known besides, such as
    ``uneven``.
    """
    for name, behind in steps:
        wrapped = {"verdict": shown["verdict"].str.replace("; ", ";\n")} if "verdict" in shown else {}
        if sum(widths(shown.assign(**wrapped)).values()) - 1 > width and name in shown:
            if behind == "\n":
                shown = shown.assign(**{name: shown[name].str.replace(" ", behind, n=1)})
            elif behind:
                shown = shown.assign(**{name: shown[name].str.partition(behind)[0]})
            else:
                shown = shown.drop(columns=name)
    return shown


def fitting(shown: "pd.DataFrame", width: int, first: int) -> "Iterator[pd.DataFrame]":
    """Yield a table of text in parts of at most so many columns of letters, the ``first`` columns before each."""
    taken, repeated = widths(shown), list(shown.columns[:first])
    part: list[Hashable] = []
    for name in shown.columns[first:]:
        if part and sum(taken[column] for column in (*repeated, *part, name)) > width:
            yield shown[[*repeated, *part]]
            part = []
        part.append(name)
    yield shown[[*repeated, *part]]


def markdown(shown: "pd.DataFrame") -> str:
    """Return a table of text as Markdown; a line that ends inside a cell ends with a comma."""
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns)]
    for row in shown.itertuples(index=False):
        lines.append("| " + " | ".join(str(cell).replace("\n", ", ").replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines)
