"""The guard: a small process that cleans up after ganbench, so that even kill -9 leaves no process and no folder.

All processes of a run have a mark in their environment. Their children inherit it, in every group and session. The
guard waits until the system closes a pipe that only the parent holds open; this happens however the parent ends. Then
the guard kills every process with the mark, running or stopped, and removes the run's folder. If the guard was killed,
the next run removes it.

A run locks its folder, so that no other run takes it for a folder of a dead run. This works also between containers
with different process numbers, and between users.
"""

import atexit
import contextlib
import functools
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from ..launch import command
from .lock import is_free, try_lock
from .processes import OURS, kill_all

MARK = "GANBENCH_OWNER"
OWNER = f"{os.getpid()}-{secrets.token_hex(8)}"  # a process number alone may be used again
PATIENCE_S = 10.0
PREFIX, FOLDER_OWNER = "ganbench-", "owner"  # of the folder of a run


def watch(folder: Path | None = None) -> None:
    """Start the guard: when this process has ended, its processes are killed and ``folder`` is removed."""
    guard = _guard()
    if folder is not None and guard.stdin is not None:
        with contextlib.suppress(OSError):  # the guard was killed: the next run removes the folder
            guard.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            guard.stdin.flush()


@functools.cache
def _guard() -> "subprocess.Popen[bytes]":
    guard = subprocess.Popen(
        command("ganbench.machine.guard", OWNER),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # a reader of ganbench's output must not wait for the guard
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not end it
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    OURS.add(guard.pid)
    atexit.register(_dismiss, guard)
    return guard


def _dismiss(guard: "subprocess.Popen[bytes]") -> None:
    assert guard.stdin is not None
    with contextlib.suppress(OSError):
        guard.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.wait(PATIENCE_S)


@contextlib.contextmanager
def workspace() -> Iterator[str]:
    """Remove the folders of dead runs and yield a new temporary folder; raises ``OSError`` if there is no room."""
    remove_stale(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder,
        try_lock(Path(folder)),
    ):
        (Path(folder) / FOLDER_OWNER).write_text(platform.node())  # only now, when locked, may other runs see it
        watch(Path(folder))
        yield folder


def remove_stale(parent: Path) -> None:
    """Remove the folders in ``parent`` that no run has locked; a doubtful one stays."""
    for path in parent.glob(f"{PREFIX}*/{FOLDER_OWNER}"):
        with contextlib.suppress(OSError, ValueError):
            # On a file system of several hosts, a lock may hold on its own host only.
            if path.read_text() == platform.node() and is_free(path.parent):
                shutil.rmtree(path.parent, ignore_errors=True)


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # ignore signals to the whole group: the pipe's end is enough
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    folders = [json.loads(line) for line in sys.stdin.buffer if line.endswith(b"\n")]
    kill_marked(sys.argv[1])
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def kill_marked(owner: str) -> None:
    """Kill every process that carries the mark of ``owner``, until none is left."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := [one for one in psutil.process_iter() if _mark(one) == owner]) and time.monotonic() < deadline:
        kill_all(found)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # it belongs to another user, or has ended
        return None


if __name__ == "__main__":
    main()
