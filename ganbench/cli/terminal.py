"""What the commands share when they print: messages on stderr, a progress bar, columns, report files."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..report.charts import Chart

T = TypeVar("T")
# What other people's text may do to a terminal: clear it, rename it, hide what stands there.
CONTROL = {code: ascii(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def plain(text: str) -> str:
    """Return ``text`` with its control characters written out, as in ``\\x1b``."""
    return text.translate(CONTROL)


def say(text: str) -> None:
    """Say one thing to whoever runs the command, apart from what it prints."""
    click.echo(f"ganbench: {plain(text)}", err=True)


def open_streams() -> None:
    """Make sure that printing cannot fail for want of a stream, or of a letter in its encoding."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by whoever started us: the next file would take its place
            held = os.open(os.devnull, os.O_RDWR)
            if held != number:
                os.dup2(held, number)
                os.close(held)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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

    click.echo(plain(text_of(grid(names, lines), UNBOUNDED)))


def check_output(path: Path | None) -> None:
    """Raise ``UsageError`` now if a report could not be written to ``path`` later."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it")
    new = not path.exists()
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def write(report: str | bytes, path: Path | None) -> None:
    """Write a report to ``path``, or to stdout where there is none; raises ``UsageError`` where it cannot be."""
    try:
        if path is None:
            click.echo(report if isinstance(report, bytes) else plain(report), nl=False)
            sys.stdout.flush()
        else:
            path.write_bytes(report if isinstance(report, bytes) else report.encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            discard_output()
        raise UsageError(f"cannot write {path or 'to the output'}: {error.strerror}") from error


def check_picture(path: Path | None) -> None:
    """Raise ``UsageError`` or ``UnavailableError`` now if a chart could not be drawn into ``path`` later."""
    if path is not None:
        from ..report import picture

        picture.check(path)
        check_output(path)


def draw(chart: "Callable[[], Chart]", path: Path) -> None:
    """Draw what ``chart`` makes into ``path``."""
    from ..report import picture

    check_picture(path)
    picture.save(chart(), path)
    say(f"drawn in {path}")


def discard_output() -> None:
    """Send what is still to be printed nowhere: whoever read it is gone, or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
