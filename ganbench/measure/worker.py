"""One fresh process for one target: imports, prepares, verifies, and times blocks when told to.

Run as ``python -m ganbench.measure.worker``; the first line on standard input is the ``Job``. Whatever a
framework prints goes to standard error, so that the channel carries replies only.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from .. import registry
from ..errors import UnavailableError, UnsupportedError
from .protocol import (
    AnyReply,
    AnyRequest,
    Block,
    Check,
    Checked,
    Job,
    Limited,
    Limits,
    Prepare,
    Prepared,
    Ready,
    Refusal,
    Timed,
    Warm,
    Warmed,
)

if TYPE_CHECKING:
    from .memory import CaseMemory

PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "resource_exhausted", "failed to allocate")


def main() -> None:
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    die_with(job.parent)
    if job.cpus:
        os.sched_setaffinity(0, job.cpus)
    try:
        session = Session(job)
    except Exception as error:
        _send(channel, refusal(error))
        return
    _send(channel, session.ready)
    decoder = msgspec.json.Decoder(AnyRequest)
    for line in sys.stdin.buffer:
        try:
            reply = session.answer(decoder.decode(line))
        except Exception as error:  # a backend may raise anything; its row says what
            reply = refusal(error)
        _send(channel, reply)


class Session:
    """A backend and the operations it has prepared."""

    def __init__(self, job: Job) -> None:
        self._job = job
        start = time.perf_counter()
        cls = registry.load(job.target.backend)
        if reason := cls.lacks(job.target.device, job.dtype, job.precision):
            raise UnsupportedError(reason)
        self._backend = cls(mode=job.target.mode, device=job.target.device, precision=job.precision)
        import_s = time.perf_counter() - start
        self._programs: dict[str, Any] = {}
        self._memory: dict[str, CaseMemory] = {}
        # Only now what the harness itself needs: the framework's import is what was timed.
        from .memory import resident

        import_bytes = resident()
        from . import facts

        self.ready = Ready(
            import_s,
            import_bytes,
            cls.probe().version,
            facts.device_name(job.target.device),
            facts.denormals(self._backend),
            facts.blas(),
            self._backend.libraries(),
        )

    def answer(self, request: AnyRequest) -> AnyReply:
        """Do what the parent asks."""
        match request:
            case Prepare():
                return self._prepare(request.operation)
            case Warm():
                return self._warm(request)
            case Block():
                from .engine import time_block

                operation, program, _ = self._programs[request.operation]
                timing = time_block(self._backend, operation, program, request.number)
                return Timed(*timing)
            case Limits():
                from .ceilings import measure

                return Limited(measure(self._backend, self._job.dtype, self._job.precision, request.block_s))
            case Check():
                return Checked(self._verify(request.operation))

    def _prepare(self, name: str) -> AnyReply:
        from ..operations import operation as make
        from .engine import first_call
        from .memory import CaseMemory
        from .oracle import read_answers

        operation = make(name, self._job.spec)
        if operation.spec.batch < operation.minimum_batch:
            raise UnsupportedError(
                f"{name} needs a batch of at least {operation.minimum_batch}, not {operation.spec.batch}"
            )
        inputs, answers = read_answers(Path(self._job.answers), operation, self._job.dtype)
        memory = self._memory[name] = CaseMemory(self._backend)
        program, prepare_s, first_run_s = first_call(self._backend, operation, inputs)
        memory.prepared()
        self._programs[name] = operation, program, answers
        return Prepared(prepare_s, first_run_s, self._verify(name))

    def _verify(self, name: str) -> Any:
        from ..verify import verify

        operation, program, answers = self._programs[name]
        return verify(program, operation, answers, self._job.dtype, self._job.precision)

    def _warm(self, request: Warm) -> AnyReply:
        from .engine import warm_up

        operation, program, _ = self._programs[request.operation]
        memory = self._memory[request.operation]
        memory.warming()
        result = warm_up(self._backend, operation, program, request.block_s, request.cap_s, request.number)
        return Warmed(result.number, program.iterations, result.seconds, result.steady, *memory.peaks())


def refusal(error: Exception) -> Refusal:
    """Return what to tell the user of an exception, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnavailableError):
        return Refusal("unavailable", text)
    if isinstance(error, UnsupportedError | NotImplementedError):
        return Refusal("unsupported", text)
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return Refusal("out of memory", text)
    return Refusal("failed", f"{type(error).__name__}: {text}")


def _send(channel: BinaryIO, reply: AnyReply) -> None:
    channel.write(msgspec.json.encode(reply) + b"\n")
    channel.flush()


def die_with(parent: int) -> None:
    """Ask Linux to kill this process with its parent, and to prefer it to the parent when memory is short."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl
        sys.exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    main()
