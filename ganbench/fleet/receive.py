"""What comes home from a worker: opened as data, checked, and kept."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..results.importing import LeftOutError, take_run
from ..results.records import RunEnd, RunHeader
from .answers import answered
from .worker_tasks import Outcome

if TYPE_CHECKING:
    from distributed import Future


def outcome_of(future: "Future[bytes]") -> Outcome:
    """Return what a worker sent.

    Raises ``LeftOutError`` where its task failed, ``MsgspecError`` where it sent something else, ``OSError`` without a
    scheduler.
    """
    if future.status == "cancelled":
        raise ConnectionError("it has taken back what was given to it")
    if future.status != "finished":
        raise LeftOutError(str(future.exception()))
    try:
        content = future.result()
    except TypeError as error:  # what the client does not open
        raise LeftOutError("the worker sent something that is no plain data") from error
    return msgspec.msgpack.decode(content, type=Outcome)


def kept(outcome: Outcome, results: Path, machine: str, asked: str) -> str:
    """Check a run that answers a question on a machine, and keep it; return its id.

    Raises ``LeftOutError`` saying what is wrong with it.
    """
    said = [line for line in outcome.said.splitlines() if line.strip()]
    if not outcome.run:
        raise LeftOutError(" / ".join(said[-3:]) or f"ganbench compare ended with code {outcome.code}, without a word")

    def fits(header: RunHeader, last: object) -> str:
        if header.machine != machine:
            return f"it says that it is of {header.machine}"
        if not isinstance(last, RunEnd):
            return "it was not finished"
        return "" if answered(header) == asked else "it answers another question than was asked"

    try:
        return take_run(outcome.run, results, fits).stem
    except LeftOutError as error:
        if outcome.code and said:
            raise LeftOutError(f"{error}; it ended with: {said[-1]}") from error
        raise
