"""What a child process does first: read its job, take its processors, open its channel, and die with its parent.

A worker imports this before it times the import of its framework, so nothing here loads NumPy.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ..errors import GanbenchError, UnavailableError, UnsupportedError, as_utf8
from ..launch import channel, die_with
from ..results.records import Status

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "resource_exhausted", "failed to allocate")


class ChildJob(msgspec.Struct, frozen=True, kw_only=True):
    """What every child reads in its first line: its parent, and the processors that it may use (empty: any)."""

    parent: int
    cpus: list[int] = []


J = TypeVar("J", bound=ChildJob)


def encoded(message: Any) -> bytes:
    """Return a message to a child as JSON, whose texts may be names of files that are no UTF-8."""
    return json.dumps(msgspec.to_builtins(message)).encode()


def decoded(line: bytes, kind: Any) -> Any:
    """Return the message that ``encoded`` was given."""
    return msgspec.convert(json.loads(line), kind)


def begin(kind: type[J]) -> tuple[J, Callable[[Any], None]]:
    """Read the job from standard input; return it with the function that sends the parent one message.

    After this call, whatever a framework prints goes to standard error, so the channel carries messages only.
    """
    stream = channel()
    job: J = decoded(sys.stdin.buffer.readline(), kind)
    settle(job)

    def send(message: Any) -> None:
        stream.write(msgspec.json.encode(message) + b"\n")
        stream.flush()

    return job, send


def settle(job: ChildJob) -> None:
    """Die with the parent from now on, and run only on the processors of the job."""
    die_with(job.parent)
    if job.cpus:
        os.sched_setaffinity(0, job.cpus)


def import_seconds(module: str) -> float:
    """Import a module; return the seconds that it took."""
    start = time.perf_counter()
    importlib.import_module(module)
    return time.perf_counter() - start


def explained(error: Exception) -> tuple[Status, str]:
    """Return the status that an exception of a plug-in gives its row, and the reason in one line."""
    text = as_utf8(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, UnavailableError):
        return "unavailable", text
    if isinstance(error, UnsupportedError | NotImplementedError):
        return "unsupported", text
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return "out of memory", text
    return "failed", text if isinstance(error, GanbenchError) else f"{type(error).__name__}: {text}"
