"""Workers of later rounds are forked from a process that has imported their framework, and so need not import it again.

Importing is most of what a round costs before its first visit. The worker is a new process all the same: it stages its
arrays, prepares, is checked and warms up for itself. Whether its luck is as new as that of a fresh one is asked by
``benchmarks/studies/placement.py``. Run as ``python -m ganbench.measure.fork_server`` for the template itself.
"""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from typing import IO, NoReturn, Self

import msgspec

from .. import registry
from ..machine import guard
from ..machine.launch import command
from . import worker
from .child import ChildJob, die_with

PATIENCE_S = 60.0  # for the import
MESSAGE = 2**16


class TemplateJob(ChildJob, frozen=True, kw_only=True):
    """The first message to a template: the backend whose framework it imports."""

    backend: str


class TemplateLostError(Exception):
    """A template that cannot give workers: they are started afresh instead."""


class Forked:
    """A worker that was forked: what ``subprocess.Popen`` is for one that was started."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):  # somebody else has asked: it is gone
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid == 0:
                    return None
                self.returncode = os.waitstatus_to_exitcode(status)
                return self.returncode
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raises ``subprocess.TimeoutExpired``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Template:
    """The parent's side of a template. Constructing it starts the process, without waiting for the import.

    Only while the caller is ``adopting`` do workers that it forks become the caller's own children.
    """

    def __init__(self, backend: str, cpus: list[int], environment: dict[str, str]) -> None:
        guard.watch()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE_S)
        self._waiting = True
        with theirs:
            self._process = subprocess.Popen(
                command("ganbench.measure.fork_server", str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket.send(msgspec.json.encode(TemplateJob(backend=backend, parent=os.getpid(), cpus=cpus)))

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait(self) -> None:
        """Wait until the framework is imported; who then wants a worker is told where that has failed."""
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(OSError):
                self._socket.recv(MESSAGE)

    def fork(self, errors: IO[bytes]) -> Forked:
        """Return a new worker that says on ``errors`` what goes wrong; raises ``TemplateLostError``."""
        self.wait()
        ours_in, ours_out = os.pipe(), os.pipe()
        try:
            socket.send_fds(self._socket, [b"fork"], [ours_in[0], ours_out[1], errors.fileno()])
            pid = int(self._socket.recv(MESSAGE))
        except (OSError, ValueError) as error:
            os.close(ours_in[1])
            os.close(ours_out[0])
            self._process.kill()  # a late answer would pass for that to the next question
            raise TemplateLostError from error
        finally:
            os.close(ours_in[0])
            os.close(ours_out[1])
        return Forked(pid, os.fdopen(ours_in[1], "wb"), os.fdopen(ours_out[0], "rb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()


def can_fork(target: registry.Target) -> bool:
    """Whether workers of a target may be forked: on Linux, on the host, where its backend says so."""
    if sys.platform != "linux" or target.device != "cpu":
        return False
    try:
        return registry.load(target.backend).forks
    except Exception:  # a plug-in may raise anything; its row will say what
        return False


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    job = msgspec.json.decode(channel.recv(MESSAGE), type=TemplateJob)
    die_with(job.parent)
    if job.cpus:
        os.sched_setaffinity(0, job.cpus)
    importlib.import_module("numpy")
    importlib.import_module(registry.load(job.backend).module)
    channel.send(b"imported")
    while True:
        message, fds, _, _ = socket.recv_fds(channel, MESSAGE, 3)
        if not message:
            return
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            pid = os.fork()
            if pid == 0:
                _become_worker(fds, (channel.fileno(), reader, writer))
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(middle, 0)  # now the worker is the parent's own child
        channel.send(os.read(reader, MESSAGE))
        os.close(reader)
        for fd in fds:
            os.close(fd)


def _become_worker(fds: Sequence[int], others: Sequence[int]) -> NoReturn:
    """Go on as ``ganbench.measure.worker`` does, on the pipes that the parent has sent, and end with it."""
    code: object = 1
    try:
        os.setsid()
        for place, fd in enumerate(fds):
            os.dup2(fd, place)
        for fd in (*fds, *others):
            os.close(fd)
        worker.main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
