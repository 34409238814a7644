"""What the commands share when they speak: one line to stderr, columns, a file with the report."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from ..errors import UsageError

T = TypeVar("T")


def say(text: str) -> None:
    """Say one thing to whoever runs the command, apart from what it prints."""
    click.echo(f"ganbench: {text}", err=True)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Say every warning as one line, without the place in the code that gave it."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                say(str(warning.message))


def shown(work: Callable[[Callable[[float, str], None]], T]) -> T:
    """Do ``work`` under a progress bar, if there is a terminal for it."""
    if not sys.stderr.isatty():
        return work(lambda share, text: None)
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    parts = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return work(lambda share, text: bar.update(task, completed=share, description=text))


def columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells, each column as wide as its widest cell."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    for line in lines:
        click.echo("  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]).rstrip())


def check_output(path: Path | None) -> None:
    """Raise ``UsageError`` now if a report could not be written to ``path`` later for want of its folder."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {path.parent} does not exist")


def write(report: str | bytes, path: Path | None) -> None:
    """Write a report to ``path``, or to stdout where there is none."""
    if path is None:
        click.echo(report, nl=False)
        return
    try:
        path.write_bytes(report if isinstance(report, bytes) else report.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
