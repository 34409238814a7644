"""What a fleet has to remember besides the runs: which host is called what, what was given out, and what failed why.

A file of JSON lines below the results folder, each on disk before anything follows from it. A line that was torn off by
a kill is passed over. That a job is done follows from the run files alone.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import StorageError, UsageError, refused
from ..machine.lock import is_free, try_lock
from .machines import Description

FOLDER = "fleet"  # below the results folder
JOURNAL = "journal.jsonl"


def _now() -> float:
    return round(time.time(), 2)


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of the lines; ``at`` is in seconds since 1970, by the clock of whoever runs the fleet."""

    at: float = msgspec.field(default_factory=_now)


class Seen(Entry, tag="seen", frozen=True, kw_only=True):
    """A machine answered; ``refused`` says why no job may go there."""

    machine: str
    about: Description
    refused: str = ""
    remarks: list[str] = []


class OfJob(Entry, frozen=True, kw_only=True):
    """Base of the lines on what a machine was asked."""

    machine: str
    question: str


class Given(OfJob, tag="given", frozen=True, kw_only=True):
    """A job went to a machine."""


class Came(OfJob, tag="came", frozen=True, kw_only=True):
    """Its run came home and is kept; ``seconds`` since it was given."""

    run: str
    seconds: float


class Failed(OfJob, tag="failed", frozen=True, kw_only=True):
    """It did not."""

    why: str


Line = Seen | Given | Came | Failed
_decoder = msgspec.json.Decoder(Line)


class Journal:
    """The journal of one results folder, and what follows from its lines; one that is not ``kept`` writes nothing."""

    def __init__(self, results: Path, kept: bool = True) -> None:
        self._kept = kept
        self.folder = results / FOLDER
        self.path = self.folder / JOURNAL
        self.lines: list[Line] = []
        with refused(StorageError, f"cannot read {self.path}"):
            content = self.path.read_bytes() if self.path.exists() else b""
        for line in content.splitlines():
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.lines.append(_decoder.decode(line))

    @property
    def seen(self) -> dict[str, Seen]:
        """What each machine said last."""
        return {line.machine: line for line in self.lines if isinstance(line, Seen)}

    @property
    def open(self) -> dict[tuple[str, str], Given | Failed]:
        """The jobs, by machine and question, that were given out and have not come, or have failed."""
        found: dict[tuple[str, str], Given | Failed] = {}
        for line in self.lines:
            if isinstance(line, Given | Failed):
                found[line.machine, line.question] = line
            elif isinstance(line, Came):
                found.pop((line.machine, line.question), None)
        return found

    def write(self, line: Line) -> None:
        """Append one line; raises ``StorageError`` where the disk does not take it."""
        self.lines.append(line)
        if not self._kept:
            return
        with refused(StorageError, f"cannot write {self.path}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                torn = file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
                file.write(b"\n" * bool(torn) + msgspec.json.encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other fleets away from this results folder; raises ``UsageError`` where one is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with try_lock(self.folder) as free:
            if not free:
                raise UsageError(
                    f"another fleet is measuring into {self.folder.parent}: wait until it has ended, or choose another "
                    "folder with --results; 'ganbench fleet status PLAN' shows what it does"
                )
            yield

    def live(self) -> bool:
        """Whether a fleet is measuring into this results folder now."""
        return self.folder.is_dir() and not is_free(self.folder)
