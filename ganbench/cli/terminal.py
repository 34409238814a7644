"""What the commands share when they print: messages on stderr, a progress bar, columns, report files."""

import io
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from ..errors import UsageError, refused
from ..report.choices import format_of
from ..report.escape import visible_lines

if TYPE_CHECKING:
    from ..report.charts import Chart
    from ..report.text import Screen

T = TypeVar("T")
NARROWEST = 60  # columns of a terminal for which tables are made
EVERY_S = 15.0  # a log without a line for longer looks like a program that hangs
DRAWN_S = 0.1  # a bar whose numbers alone have changed is drawn no more often


def say(text: str) -> None:
    """Say one thing to whoever runs the command, apart from what it prints; if nobody can be told, go on."""
    with suppress(OSError):
        click.echo(f"ganbench: {visible_lines(text)}", err=True)


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


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can colour letters and move up; one that is dumb gets plain lines."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """Yield what shows the share done, what is being done and what was seen: a bar, or without a terminal a log.

    The bar is drawn by whoever shows something. A thread that draws it would run beside what is timed.
    """
    if not is_terminal(sys.stderr):
        with _log() as show:
            yield show
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    task = bar.add_task("starting", total=1.0)
    drawn_s, words = 0.0, ""
    with Live(bar, console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def show(share: float, text: str) -> None:
            nonlocal drawn_s, words
            doing, _, seen = text.partition("\n")
            bar.update(task, completed=share, description=doing)
            now, said = time.monotonic(), re.sub(r"\d", "", text)
            due = said != words or now - drawn_s >= DRAWN_S
            if due:
                drawn_s, words = now, said
            live.update(Group(bar, Text(seen, "dim")) if seen else bar, refresh=due)

        yield show


@contextmanager
def _log() -> Iterator[Callable[[float, str], None]]:
    """Yield what keeps the newest of what it is told, which is said every ``EVERY_S`` seconds."""
    newest = ""
    ended = threading.Event()

    def keep(share: float, text: str) -> None:
        nonlocal newest
        newest = f"{share:.0%} done, {'; '.join(text.splitlines())}"

    def speak() -> None:
        while not ended.wait(EVERY_S):
            if newest:
                say(newest)

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    try:
        yield keep
    finally:
        ended.set()
        speaking.join()


def announce(text: str) -> None:
    """Say at once what a command does and for how long, where a log is read and no bar shows it."""
    if not is_terminal(sys.stderr):
        say(text)


def shown(work: Callable[[Callable[[float, str], None]], T]) -> T:
    """Do ``work`` under a progress bar, if there is a terminal for it."""
    with progress_bar() as show:
        return work(show)


def screen(form: str = "table") -> "Screen":
    """Return what a report may take: on a terminal, a table has its width, and colours unless ``NO_COLOR`` is set."""
    from ..report.text import PAPER, Screen

    if form != "table" or not is_terminal(sys.stdout):
        return PAPER
    return Screen(max(NARROWEST, shutil.get_terminal_size().columns), not os.environ.get("NO_COLOR"))


def columns(
    names: Sequence[str], lines: Iterable[Sequence[str]], wraps: str = "", least: Iterable[tuple[str, str]] = ()
) -> None:
    """Print lines of cells, each column as wide as its widest cell; ``wraps`` is a column that may break.

    ``least`` are columns that are left out where there is no room, in this order: see ``report.text.narrowed``.
    """
    from ..report.text import PAPER, UNBOUNDED, grid, narrowed, text_of

    size = screen()._replace(colours=False) if wraps else PAPER._replace(width=UNBOUNDED)
    if least:
        import pandas as pd

        shown = narrowed(pd.DataFrame(lines, columns=list(names)), size.width, least)
        names, lines = [*map(str, shown)], shown.to_numpy().tolist()
    click.echo(text_of(grid(names, lines, wraps), size))


def check_output(path: Path | None) -> None:
    """Raise ``UsageError`` now if a report could not be written to ``path`` later."""
    if path is None:
        return
    if path.exists() and not path.is_dir() and not path.is_file():
        return  # such as the pipe of >(gzip > file), which may be opened only once
    place = Path(os.path.realpath(path))  # of a link, what it points to
    if not place.parent.is_dir():
        raise UsageError(
            f"cannot write {path}: the folder {(place if path.is_symlink() else path).parent} does not exist"
        )
    if place.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it")
    new = not place.exists()
    with refused(UsageError, f"cannot write {path}"):
        place.open("ab").close()
        if new:
            place.unlink()


def write(report: str | bytes, path: Path | None, coloured: bool = False) -> None:
    """Write a report to ``path``, or to stdout where there is none; raises ``UsageError`` where it cannot be.

    One that is ``coloured`` was made visible cell by cell.
    """
    try:
        if path is None:
            safe = report if coloured or isinstance(report, bytes) else visible_lines(report)
            click.echo(safe, nl=False, color=coloured or None)
            sys.stdout.flush()
        else:
            path.write_bytes(report if isinstance(report, bytes) else report.encode())
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            discard_output()
        raise UsageError(f"cannot write {path or 'to the output'}: {error.strerror}") from error


def hand_over(made: Callable[..., str | bytes], form: str, exports: Iterable[Path] = ()) -> None:
    """Print what ``made`` makes in a format for a screen; then write each file in the format that its name says."""
    size = screen(form)
    write(made(form, size), None, size.colours)
    for path in exports:
        write(made(format_of(path.name)), path)
        say(f"written: {path}")


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
    missing = picture.save(chart(), path)
    say(f"drawn in {path}" + f": {missing}" * bool(missing))


def discard_output() -> None:
    """Send what is still to be printed nowhere: whoever read it is gone, or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
