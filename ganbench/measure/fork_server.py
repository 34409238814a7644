"""The fork server of a target: it has imported the framework, and the target's workers are forked from it.

Such a worker need not import the framework again, which is most of a round's time before its first visit. It is still
a new process: it stages its own arrays, prepares, is checked and warms up. ``benchmarks/studies/placement.py`` measures
whether times differ between forked workers as they do between new ones. The server is
``python -m ganbench.measure.fork_server``.
"""

import contextlib
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from typing import IO, NoReturn

import msgspec
import psutil

from .. import registry
from ..launch import command
from ..machine import guard
from ..machine.processes import OURS
from . import worker
from .child import ChildJob, import_seconds, settle

PATIENCE_S = 60.0  # for the import
MESSAGE = 2**16


class ForkServerJob(ChildJob, frozen=True, kw_only=True):
    """The first message to a fork server: the backend whose framework it imports."""

    backend: str


class Imported(msgspec.Struct, frozen=True):
    """What the import took: seconds, and bytes of the process in memory after it."""

    seconds: float = 0.0
    resident: int = 0


class ForkServerLostError(Exception):
    """A fork server that cannot fork; its workers are started as new processes instead."""


class Forked(psutil.Process):
    """A forked worker, with the methods and the streams that ``subprocess.Popen`` has."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        super().__init__(pid)
        self.stdin, self.stdout = stdin, stdout

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raises ``subprocess.TimeoutExpired``."""
        try:
            return super().wait(timeout) or 0  # None: another call has already waited for it
        except psutil.TimeoutExpired as error:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0) from error


class ForkServer(contextlib.AbstractContextManager["ForkServer"]):
    """The parent's side of a fork server. The constructor starts the process and does not wait for the import.

    Its workers become the caller's own children only inside of ``adopting``.
    """

    def __init__(self, target: registry.Target, cpus: list[int], environment: dict[str, str]) -> None:
        guard.watch()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE_S)
        self._waiting = True
        self.imported = Imported()
        with theirs:
            self._process = subprocess.Popen(
                command("ganbench.measure.fork_server", str(theirs.fileno()), python=target.python),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        OURS.add(self._process.pid)
        self._socket.send(msgspec.json.encode(ForkServerJob(backend=target.backend, parent=os.getpid(), cpus=cpus)))

    def wait(self) -> None:
        """Wait until the framework is imported. If the import failed, ``fork`` raises."""
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(OSError, msgspec.DecodeError):
                self.imported = msgspec.json.decode(self._socket.recv(MESSAGE), type=Imported)

    def fork(self, errors: IO[bytes]) -> Forked:
        """Return a new worker, whose standard error is ``errors``; raises ``ForkServerLostError``."""
        self.wait()
        ours_in, ours_out = os.pipe(), os.pipe()
        try:
            socket.send_fds(self._socket, [b"fork"], [ours_in[0], ours_out[1], errors.fileno()])
            pid = int(self._socket.recv(MESSAGE))
        except (OSError, ValueError) as error:
            os.close(ours_in[1])
            os.close(ours_out[0])
            self._process.kill()  # or a late answer would be taken for the next one
            raise ForkServerLostError from error
        finally:
            os.close(ours_in[0])
            os.close(ours_out[1])
        return Forked(pid, os.fdopen(ours_in[1], "wb"), os.fdopen(ours_out[0], "rb"))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        OURS.discard(self._process.pid)
        self._socket.close()


def can_fork(target: registry.Target) -> bool:
    """Return whether workers of a target may be forked: on Linux, on the CPU, if the backend allows it."""
    if sys.platform != "linux" or target.device != "cpu":
        return False
    try:
        return registry.about(target.backend, target.python).forks
    except registry.UNKNOWN:  # its row will have the reason
        return False


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    job = msgspec.json.decode(channel.recv(MESSAGE), type=ForkServerJob)
    settle(job)
    channel.send(msgspec.json.encode(_imported(job.backend)))
    while True:
        message, fds, _, _ = socket.recv_fds(channel, MESSAGE, 3)
        if not message:
            return
        reader, writer = os.pipe()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                _become_worker(fds, writer, (channel.fileno(), reader))
            os._exit(0)
        os.close(writer)
        os.waitpid(middle, 0)  # now the worker is the parent's own child
        channel.send(os.read(reader, MESSAGE))
        os.close(reader)
        for fd in fds:
            os.close(fd)


def _imported(backend: str) -> Imported:
    """Import NumPy and the framework; as in a worker, the search for plug-ins does not count."""
    seconds = import_seconds("numpy") + import_seconds(registry.load(backend).module)
    from ..machine.memory import resident  # not before: it loads NumPy

    found = Imported(seconds, resident())
    worker.import_own()
    return found


def _become_worker(fds: Sequence[int], told: int, others: Sequence[int]) -> NoReturn:
    """Run ``ganbench.measure.worker`` on the pipes that the parent has sent, then end the process.

    Its number is written to ``told`` when it has a session of its own: the parent kills and pauses it by that.
    """
    code: object = 1
    try:
        os.setsid()
        os.write(told, str(os.getpid()).encode())
        for place, fd in enumerate(fds):
            os.dup2(fd, place)
        for fd in (*fds, told, *others):
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
