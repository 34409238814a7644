"""Workers that are reached through the pipes of a process of ours: on this machine, and on others through ``ssh``.

Nothing listens, so there is nobody to keep out. What comes back is data, and of bounded length.
"""

import base64
import binascii
import contextlib
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import IO, Any, NamedTuple

import msgspec

from ..launch import OPEN
from ..results.archive import MAX_FILE
from .serve import Request

LONGEST = 2 * MAX_FILE  # bytes of a line: a run file in base64
ANSWER_S = 60.0  # for a worker to describe its machine
RETRY_S = 3.0
ATTEMPTS = 3  # of a worker that ends each time before it has answered
CLOSE_S = 5.0


class Way(NamedTuple):
    """How a worker is started, and what to try where it cannot be."""

    command: list[str]
    advice: str = ""


class Answer(futures.Future[bytes]):
    """What a worker will answer; as a future of dask, as far as a fleet needs one."""

    status = "finished"  # when it is read
    workers: frozenset[str] = frozenset()  # who may answer: nobody else takes a job over

    def release(self) -> None:
        """Do nothing: no scheduler keeps it."""


class Worker:
    """One worker, which is started again if it ends; ``lost`` says why it is not there."""

    def __init__(self, name: str, way: Way, lost: dict[str, str]) -> None:
        self.address: str | None = None  # another one each time that it comes back
        self._name, self._way, self._lost = name, way, lost
        self._lock = threading.Lock()
        self._pending: deque[tuple[Answer, bool]] = deque()  # what was asked, and whether it is a job
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        self._starts = 0
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def request(self, task: str, content: bytes, job: bool) -> Answer:
        """Ask for something; a job that was lost is never answered, all else then raises ``ConnectionError``."""
        answer = Answer()
        with self._lock:
            if self.address is None or self._process is None or self._process.stdin is None:
                if not job:
                    answer.set_exception(ConnectionError(self._lost.get(self._name, "it has ended")))
                return answer
            answer.workers = frozenset({self.address})
            self._pending.append((answer, job))
            with contextlib.suppress(OSError, ValueError):  # it has ended, which ``_keep`` notices
                self._process.stdin.write(msgspec.json.encode(Request(task, content)) + b"\n")
                self._process.stdin.flush()
        return answer

    def close(self) -> None:
        """Let it stop: it sees the end of its standard input."""
        self._closed.set()
        with contextlib.suppress(OSError), self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()

    def join(self, seconds: float) -> None:
        """Wait until it has ended; kill it if that takes longer than ``seconds``."""
        self._thread.join(max(seconds, 0))
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _keep(self) -> None:
        fruitless = 0
        while not self._closed.is_set():
            began = self._starts
            why, answered = self._live()
            if self._closed.is_set():
                return
            fruitless = 0 if answered else fruitless + (self._starts > began)
            if self._starts:
                why = f"the connection was lost ({why}); it is tried again, and what was measured is kept there"
            elif self._way.advice:
                why += f" (try: {self._way.advice})"
            self._lost[self._name] = why
            if not self._starts or fruitless == ATTEMPTS:
                return
            self._closed.wait(RETRY_S)

    def _live(self) -> tuple[str, bool]:
        """Start it, and take its answers until it ends; return why it ended, and whether it has done anything."""
        answered = False
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    self._way.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                    start_new_session=True,  # Ctrl-C is for us
                )  # fmt: skip
            except OSError as error:
                return f"cannot start {self._way.command[0]}: {error.strerror}", False
            with self._lock:
                self._process = process
            assert process.stdout is not None
            if not self._closed.is_set():
                answered = self._read(process.stdout)
            process.kill()  # it has ended, or sends what it should not
            code = process.wait()
            with self._lock:
                self.address = None
                for answer, job in self._pending:
                    if not job and not answer.done():
                        answer.set_exception(ConnectionError("it has ended"))
                self._pending.clear()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, AttributeError):
                    pipe.close()  # type: ignore[union-attr]
            said.seek(0)
            lines = [line.strip() for line in said.read(LONGEST).decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"it ended with code {code} and no message", answered

    def _read(self, stream: IO[bytes]) -> bool:
        """Give each answer to whoever waits for it; return whether there was any to a job."""
        while (line := stream.readline(LONGEST)) != OPEN:  # a shell or a start-up file may print what it wants
            if not line:
                return False
        with self._lock:
            self._starts += 1
            self.address = self._name if self._starts == 1 else f"{self._name} ({self._starts})"
        self._lost.pop(self._name, None)
        answered = False
        while (line := stream.readline(LONGEST)).endswith(b"\n"):  # else it is too long, or torn
            try:
                content = base64.b64decode(line.strip(), validate=True)
            except binascii.Error:
                break
            with self._lock:
                if not self._pending:
                    break
                answer, job = self._pending.popleft()
            answered |= job
            if answer.set_running_or_notify_cancel():
                answer.set_result(content)
        return answered


class PipeClient(contextlib.AbstractContextManager["PipeClient"]):
    """What a conductor asks of a cluster: which workers there are, what they say, and that they measure."""

    def __init__(self, ways: Mapping[str, Way], lost: dict[str, str]) -> None:
        self._workers = [Worker(name, way, lost) for name, way in ways.items()]

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.close()
        deadline = time.monotonic() + CLOSE_S
        for worker in self._workers:
            worker.join(deadline - time.monotonic())

    def nthreads(self) -> dict[str, int]:
        """Return the addresses of the workers that are there."""
        return {worker.address: 1 for worker in self._workers if worker.address is not None}

    def ask(self, task: Callable[..., Any], *content: str, workers: Sequence[str]) -> dict[str, Any]:
        """Return by worker what it answers, or a text with the reason why it does not."""
        asked = {
            worker.address: worker.request(task.__name__, "".join(content).encode(), job=False)
            for worker in self._workers
            if worker.address in workers and worker.address is not None
        }
        deadline = time.monotonic() + ANSWER_S
        found: dict[str, Any] = dict.fromkeys(workers, "it has ended")
        for address, answer in asked.items():
            try:
                found[address] = answer.result(max(deadline - time.monotonic(), 0))
            except TimeoutError:
                found[address] = f"it did not answer within {ANSWER_S:g} s"
            except ConnectionError as error:
                found[address] = str(error)
        return found

    def submit(self, task: Callable[..., Any], content: bytes, workers: Sequence[str], **_: Any) -> Answer:
        """Give a job to one of ``workers``."""
        worker = next((one for one in self._workers if one.address in workers), None)
        return Answer() if worker is None else worker.request(task.__name__, content, job=True)
