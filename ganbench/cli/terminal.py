"""What the commands share when they print: messages on stderr, a progress bar, columns, report files."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
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


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """Yield what shows the share done and what is being done: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda share, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    parts = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)


def shown(work: Callable[[Callable[[float, str], None]], T]) -> T:
    """Do ``work`` under a progress bar, if there is a terminal for it."""
    with progress_bar() as show:
        return work(show)


def columns(names: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print lines of cells, each column as wide as its widest cell."""
    from ..report.page import UNBOUNDED, grid, text_of

    click.echo(text_of(grid(names, lines), UNBOUNDED))


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
