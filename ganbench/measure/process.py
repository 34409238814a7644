"""The parent's side of a worker: start or fork it, send it requests, pause it, and kill it."""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import dropwhile, islice
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import msgspec
from msgspec.structs import replace

from .. import gpus, registry
from ..errors import UnavailableError
from ..launch import OPEN, answering, command
from ..machine import guard
from ..machine.environment import can_pause
from ..machine.processes import OURS, adopting, spread_threads
from ..registry import Target
from ..results.records import Status
from . import callgrind
from .child import ChildJob, encoded
from .clock import Clock
from .fork_server import Forked, ForkServer, ForkServerLostError, Imported, can_fork
from .plan import Plan
from .protocol import AnyRequest, Job, Message, Ready, Refusal, Reply

_decoder = msgspec.json.Decoder(Message)
MOST_SAID = 2000  # bytes of what a dead worker said are looked at
SHOWN = 80  # bytes of an invalid answer are shown
T = TypeVar("T")
J = TypeVar("J", bound=Job)
R = TypeVar("R", bound=Reply)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerLostError(Exception):
    """A worker that died or hung; the status and reason are for its row."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status
        self.reason = reason


def child_environment(extra: dict[str, str], threads: int) -> dict[str, str]:
    """Return the environment of a worker: that of this process, the threads, the framework's variables and the mark."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **extra, guard.MARK: guard.OWNER}


class Child:
    """A child process that reads lines and answers with lines.

    Every method raises ``WorkerLostError`` if the process has ended or does not answer in time.
    """

    def __init__(
        self, module: str, job: ChildJob, environment: dict[str, str], timeout_s: float | None,
        server: ForkServer | None = None, python: str = "", before: Sequence[str] = (),
    ) -> None:  # fmt: skip
        guard.watch()
        self.timeout_s = timeout_s
        self._grouped = can_pause()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._process = self._started([*before, *command(module, python=python)], environment, server)
        OURS.add(self._process.pid)
        threading.Thread(target=self._listen, daemon=True).start()
        self._paused = False
        self._loss: WorkerLostError | None = None
        with contextlib.suppress(WorkerLostError):  # the next ``receive`` will report the dead process
            self.send(encoded(job))

    def _started(
        self, arguments: list[str], environment: dict[str, str], server: ForkServer | None
    ) -> "subprocess.Popen[bytes] | Forked":
        """Start the process, in a group of its own, so that it is paused and killed with its children."""
        if server is not None:
            with contextlib.suppress(ForkServerLostError):
                return server.fork(self._errors)
        reader, writer = os.pipe()
        answers = os.fdopen(reader, "rb")
        try:
            process = answering(
                arguments, writer, self._errors, environment, stdin=subprocess.PIPE, start_new_session=self._grouped
            )
        except BaseException:
            answers.close()
            raise
        finally:
            os.close(writer)
        process.stdout = answers
        return process

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def forked(self) -> bool:
        """Whether a fork server forked it."""
        return isinstance(self._process, Forked)

    def pause(self) -> None:
        """Stop every thread of the worker, so that none spins beside the one being timed."""
        if self._grouped and not self._paused and self._process.poll() is None:
            self._signal(signal.SIGSTOP)
            self._paused = True

    def resume(self, cpu: int | None = None) -> None:
        """Continue a paused worker; its main thread begins on processor ``cpu``, its other threads on others."""
        if self._paused:
            with spread_threads(self._process.pid, cpu):
                self._signal(signal.SIGCONT)
            self._paused = False

    def stop(self) -> None:
        """Kill the worker and its children; returns when they are gone. May be called again."""
        if self._grouped:
            self._signal(signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        OURS.discard(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._errors.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        # Only this thread closes it: to close it elsewhere would wait for its end, and a stray may hold that open.
        with contextlib.suppress(OSError), stream:
            for line in islice(dropwhile(lambda line: line != OPEN, stream), 1, None):
                self._replies.put(line)
        self._replies.put(b"")

    def send(self, line: bytes) -> None:
        """Send it one more line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed, since it was stopped
            self._lost()

    def receive(self, doing: str, decoder: msgspec.json.Decoder[T]) -> T:
        """Return the next message. If a line is not a valid message, the process is killed."""
        try:
            line = self._replies.get(timeout=self.timeout_s)
        except queue.Empty:
            self._give_up("timeout", f"it was asked to {doing}, and did not answer within {self.timeout_s:g} s")
        if not line:
            self._lost()
        try:
            return decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            shown = ascii(line.rstrip()[:SHOWN])[2:-1] + "..." * (len(line) > SHOWN)
            self._give_up("failed", f"it was asked to {doing}, and its answer is not a message of ganbench: {shown}")

    def _give_up(self, status: Status, reason: str) -> NoReturn:
        """Kill a worker that still runs but cannot be used; later calls raise the same error."""
        self.stop()
        self._loss = WorkerLostError(status, f"{reason}; the worker was killed")
        raise self._loss

    def _lost(self) -> NoReturn:
        """Raise the error for a worker that has ended."""
        if self._loss is None:
            self._loss = self._cause_of_death()
        raise self._loss

    def _cause_of_death(self) -> WorkerLostError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - MOST_SAID))
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        self.stop()
        last = f": {said[-1].strip()[-MOST_SAID // 4 :]}" if said else ""
        if code < 0 and -code == signal.SIGKILL:  # Windows has neither this signal nor this code
            return WorkerLostError(
                "out of memory", "the worker was killed (SIGKILL), most likely because memory ran out"
            )
        if code < 0:
            return WorkerLostError("failed", f"the worker died of {signal.Signals(-code).name}{last}")
        return WorkerLostError("failed", f"the worker ended with exit code {code}{last}")


class Worker(Child):
    """The process of one target; ``folder`` holds the images, its outputs, and what it compiles.

    The constructor starts it, forked by ``server`` if there is one; ``wait`` returns once its framework is imported.
    Raises ``BrokenBackendError`` for a plug-in that fails, ``UnavailableError`` where no
    worker can be, and ``OSError`` or ``ValueError`` for environment variables that the system refuses.
    """

    def __init__(
        self, plan: Plan, target: Target, folder: str, server: ForkServer | None = None, described: bool = False
    ) -> None:
        if reason := gpus.one_process(target.device):
            raise UnavailableError(reason)
        if plan.count and target.device != "cpu":
            raise UnavailableError("Valgrind counts instructions of a processor, not of a GPU: use a target on the CPU")
        job, environment = job_of(Job, plan, target, folder, described=described), environment_of(plan, target, folder)
        before = callgrind.before(folder) if plan.count else []
        timeout_s = plan.timeout_s * (callgrind.SLOWER if plan.count else 1)
        self.clock, self._began = Clock(), time.perf_counter()
        super().__init__("ganbench.measure.worker", job, environment, timeout_s, server, target.python, before)
        self.target = target
        self._imported = server.imported if server is not None and self.forked else Imported()

    def wait(self) -> Ready:
        """Wait until the framework is imported; return the worker's description of itself."""
        first = self._reply("start", Ready, self._began)
        if isinstance(first, Refusal):
            self.stop()
            raise WorkerLostError(first.status, first.reason)
        seconds, resident = first.import_s + self._imported.seconds, self._imported.resident or first.import_bytes
        return replace(first, import_s=seconds, import_bytes=resident)

    def ask(self, request: AnyRequest, expected: type[R], cpu: int | None = None) -> R | Refusal:
        """Send a request and wait for the reply, resuming the worker on processor ``cpu`` if it was paused."""
        self.resume(cpu)
        with contextlib.suppress(queue.Empty):
            if self._replies.get_nowait():
                self._give_up("failed", "it sent a message that it was not asked for")
            self._lost()
        sent = time.perf_counter()
        self.send(encoded(request))
        return self._reply(type(request).__name__.lower(), expected, sent)

    def _reply(self, doing: str, expected: type[R], sent: float) -> R | Refusal:
        message = self.receive(doing, _decoder)
        self.clock.compare(sent, message.heard, message.said, time.perf_counter())
        reply = message.reply
        if not isinstance(reply, expected | Refusal):
            self._give_up("failed", f"it was asked to {doing}, but answered another request ({type(reply).__name__})")
        return reply


def job_of(kind: type[J], plan: Plan, target: Target, folder: str, **more: Any) -> J:
    """Return what the process of a target reads first."""
    return kind(
        target=target, spec=plan.spec, dtype=plan.dtype, precision=plan.precision, caches=plan.caches, folder=folder,
        cpus=list(plan.pinned_cpus), parent=os.getpid(), **more,
    )  # fmt: skip


def environment_of(plan: Plan, target: Target, folder: str) -> dict[str, str]:
    """Return the environment of a target's processes; raises as ``Worker`` does."""
    cache = Path(folder) / "cache" / target.label.replace("@", "-").replace(":", "-")
    cache.mkdir(parents=True, exist_ok=True)  # a backend is promised a folder: MLX does not make one
    extra = registry.environment(target, plan.dtype, plan.precision, str(cache))
    extra |= callgrind.ENVIRONMENT if plan.count else {}
    return child_environment(extra, plan.threads)


def fork_servers(plan: Plan, folder: str, stack: contextlib.ExitStack) -> dict[str, ForkServer]:
    """Return the fork server of each target that may have one, by the target's label; ``stack`` ends them.

    They import one after the other, so that no import is disturbed by another one.
    """
    found = {}
    stack.enter_context(adopting())
    for target in plan.targets if plan.timed and plan.rigor.rounds != 1 else ():
        if can_fork(target):
            with contextlib.suppress(Exception):  # a plug-in may raise anything; its row will have the reason
                made = ForkServer(target, list(plan.pinned_cpus), environment_of(plan, target, folder))
                found[target.label] = stack.enter_context(made)
                made.wait()
    return found
