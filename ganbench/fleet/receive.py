"""Takes in what workers send: it is data, and checked before it is saved."""

from pathlib import Path
from typing import Any

import msgspec

from ..results.importing import LeftOutError, take_run
from ..results.records import RunEnd, RunHeader
from .status import answered
from .worker_tasks import Outcome


def outcome_of(future: Any) -> Outcome:
    """Return what a worker sent.

    Raises ``LeftOutError`` where its task failed, ``MsgspecError`` where it sent something else, ``OSError`` without a
    scheduler.
    """
    if future.status == "cancelled":
        raise ConnectionError("the connection to it is gone")
    if future.status != "finished":
        raise LeftOutError(str(future.exception()))
    try:
        content = future.result()
    except TypeError as error:  # a pickle, which the client does not open
        raise LeftOutError("the worker sent a pickle instead of plain data, so its result was refused") from error
    return msgspec.msgpack.decode(content, type=Outcome)


def save_run(outcome: Outcome, results: Path, machine: str, asked: str) -> str:
    """Check a run from a machine, and save it; return its id. ``asked`` is the hash of what its job asks.

    Raises ``LeftOutError`` with the fault of the run.
    """
    said = [line for line in outcome.said.splitlines() if line.strip()]
    if not outcome.run:
        raise LeftOutError(" / ".join(said[-3:]) or f"ganbench compare ended with code {outcome.code} and no message")

    def fits(header: RunHeader, last: object) -> str:
        if header.machine != machine:
            return f"its file names another machine, {header.machine}"
        if not isinstance(last, RunEnd):
            return "it was not finished"
        return "" if answered(header) == asked else "its settings are not those of its job"

    try:
        return take_run(outcome.run, results, fits).stem
    except LeftOutError as error:
        if outcome.code and said:
            raise LeftOutError(f"{error}; it ended with: {said[-1]}") from error
        raise
