"""The guard: a small process that cleans up after ganbench, so that even kill -9 leaves no process and no folder.

All processes of a run have a mark in their environment. Their children inherit it, in every group and session. The
guard waits until the system closes a pipe that only the parent holds open; this happens however the parent ends. Then
the guard kills every process with the mark, running or stopped.
"""

import atexit
import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from .launch import command

MARK = "GANBENCH_OWNER"
OWNER = f"{os.getpid()}-{secrets.token_hex(8)}"  # a process number alone may be used again
PATIENCE_S = 10.0


def watch(folder: Path | None = None) -> None:
    """Start the guard: when this process has ended, its processes are killed and ``folder`` is removed."""
    guard = _guard()
    if folder is not None and guard.stdin is not None:
        with contextlib.suppress(OSError):  # the guard was killed: the next run removes the folder
            guard.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            guard.stdin.flush()


def pid() -> int:
    """Return the number of the guard's process."""
    return _guard().pid


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
    atexit.register(_dismiss, guard)
    return guard


def _dismiss(guard: "subprocess.Popen[bytes]") -> None:
    assert guard.stdin is not None
    with contextlib.suppress(OSError):
        guard.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.wait(PATIENCE_S)


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
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(found, timeout=1)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):  # it belongs to another user, or has ended
        return None


if __name__ == "__main__":
    main()
