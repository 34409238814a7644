"""What is done on a worker: describe its machine, carry out one job, forget a job that has come home.

A worker is one of dask or a process of ``serve``. These functions take and give bytes: JSON or MessagePack, checked on
either side.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from .. import gpus, registry
from ..errors import GanbenchError
from ..launch import command
from ..machine.environment import machine_name, usable_cpus
from ..machine.lock import try_lock
from ..results.store import cache_folder, replace_file

OUTCOME = "outcome"
RUNS = "results/*/compare/*.jsonl"  # below the private folder of a job
REFUSED = 2  # the code of ganbench where a run cannot go on
LOOK_S = 0.2  # how often a job looks whether it is still wanted
LONGEST = 2000  # letters of what a failed run said


class Order(msgspec.Struct, frozen=True):
    """One job for one machine."""

    place: str  # where its outcome is kept until it has come home: the same if a fleet gives it out again
    arguments: list[str]  # of ``ganbench compare``
    model: str  # the content of the model's file, or ''
    model_file: str
    machine: str


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: the run file as it is on the disk, empty where there is none, and what was said on stderr."""

    code: int
    run: bytes
    said: str


def describe(dask_worker: Any = None) -> bytes:
    """Return the description of this machine as JSON: see ``machines.Description``; dask gives its worker."""
    lacks: dict[str, str] = {}
    for name in registry.names():
        try:
            found = registry.about(name).probe
        except GanbenchError as error:
            lacks[name] = str(error)[:500]
            continue
        if not found.installed:
            lacks[name] = f"it is not installed: {found.install}"[:500]
        lacks |= {f"{name}@{kind}": why[:500] for kind, why in found.reasons.items()}
    free, busy = 0, ""
    try:
        place = spool()
        place.mkdir(parents=True, exist_ok=True)
        free = min(shutil.disk_usage(folder).free for folder in (place, tempfile.gettempdir()))
    except (OSError, RuntimeError) as error:
        busy = f"it cannot write to its cache folder: {error}; set GANBENCH_CACHE there to a folder with room"
    about = {
        "version": version("ganbench"),
        "host": host(),
        "hardware": machine_name(),
        "cores": len(usable_cpus()),
        "gpus": list(gpus.names()),
        "declared": [] if dask_worker is None else list(dask_worker.state.total_resources),
        "knows": registry.names(),
        "lacks": lacks,
        "free_bytes": free,
        "clock": time.time(),
        "busy": busy[:500],
    }
    return msgspec.json.encode(about)


def host() -> str:
    """Return a hash that tells hosts apart and names none: of the host's name and the system's own id."""
    own = b""
    with contextlib.suppress(OSError):
        own = Path("/etc/machine-id").read_bytes()
    return hashlib.sha256(b"ganbench" + platform.node().encode() + own).hexdigest()[:16]


def spool() -> Path:
    """Return the folder in which jobs are carried out and kept until they have come home.

    Homes may be shared between machines. Raises ``RuntimeError`` where nobody's home is known.
    """
    return cache_folder() / "fleet" / host()


class UnwantedError(Exception):
    """Nobody waits any more for the job that is being measured."""


def measure(content: bytes, unwanted: Callable[[], bool] | None = None) -> bytes:
    """Carry out an ``Order`` and return the ``Outcome``, both as MessagePack; one that is kept here is sent again.

    If the order is given out twice, the second waits for the first. A job that is ``unwanted`` any more is ended, and
    goes on where it was when it is given again. Without ``unwanted``, the worker of dask is asked.
    """
    order = msgspec.msgpack.decode(content, type=Order)
    folder = spool() / order.place
    ended = unwanted or _unwanted()

    def look() -> None:
        if ended():
            raise UnwantedError

    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            with try_lock(folder) as mine:
                if mine:
                    return _measured(order, folder, look)
            look()
            time.sleep(LOOK_S)
    except UnwantedError:
        if unwanted is not None:
            return b""  # nobody reads it
        from distributed import Reschedule

        raise Reschedule from None
    except Exception as error:  # such as a full disk; an exception would go home as a pickle, which is not opened there
        said = str(error) if isinstance(error, OSError | GanbenchError) else f"{type(error).__name__}: {error}"
        return msgspec.msgpack.encode(Outcome(1, b"", said[:LONGEST]))


def forget(place: str) -> None:
    """Remove what was kept of a job: it has come home."""
    shutil.rmtree(spool() / place, ignore_errors=True)


def _measured(order: Order, folder: Path, look: Callable[[], None]) -> bytes:
    kept, private, outcome = folder / OUTCOME, folder / "run", None
    if kept.exists():
        return kept.read_bytes()
    for begun in private.glob(RUNS):  # by whoever was killed here, or sent away
        outcome = _compare(["--resume", str(begun)], private, look)
    if outcome is None or outcome.code == REFUSED:
        shutil.rmtree(private, ignore_errors=True)
        private.mkdir()
        if order.model:
            (private / order.model_file).write_text(order.model, encoding="utf-8")
        outcome = _compare([*order.arguments, "--machine", order.machine], private, look)
    encoded = msgspec.msgpack.encode(outcome)
    if outcome.run:  # on the disk before the task returns: whatever dies from now on, it need not run again
        replace_file(kept, lambda file: file.write(encoded))
    shutil.rmtree(private, ignore_errors=True)
    return encoded


def _compare(asked: list[str], private: Path, look: Callable[[], None]) -> Outcome:
    """Run ``ganbench compare`` in a private folder, as a child that dies with this worker."""
    with (private / "said").open("wb+") as said:
        process = subprocess.Popen(
            command("ganbench.fleet.child", str(os.getpid()), "compare", *asked, "--results", "results"),
            cwd=private, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(LOOK_S)
                    break
                look()
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")[-LONGEST:]
    runs = list(private.glob(RUNS))
    return Outcome(code, runs[0].read_bytes() if len(runs) == 1 else b"", text)


def _environment() -> dict[str, str]:
    """Return the worker's environment without what dask puts there for its own workers: it changes times."""
    dask = sys.modules.get("dask")
    own = {} if dask is None else dask.config.get("distributed.nanny.pre-spawn-environ", {})
    return {name: value for name, value in os.environ.items() if str(own.get(name)) != value}


def _unwanted() -> Callable[[], bool]:
    """Return what says whether this task of dask was taken back, or its worker is closing."""
    from distributed import get_worker
    from distributed.core import Status

    worker = get_worker()
    key = worker.get_current_task()

    def look() -> bool:
        task = worker.state.tasks.get(key)
        return worker.status not in (Status.running, Status.paused) or task is None or task.state == "cancelled"

    return look
