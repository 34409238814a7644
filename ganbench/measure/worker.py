"""One fresh process for one target: imports, prepares, verifies, and times when told to.

Run as ``python -m ganbench.measure.worker``; the first line on standard input is the ``Job``.
"""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from .. import registry
from ..errors import UnsupportedError
from . import protocol
from .child import begin, explained


def main() -> None:
    job, send = begin(protocol.Job)
    try:
        worker = TargetWorker(job)
    except Exception as error:
        send(protocol.Refusal(*explained(error)))
        return
    send(worker.ready)
    decoder = msgspec.json.Decoder(protocol.AnyRequest)
    for line in sys.stdin.buffer:
        try:
            reply = worker.answer(decoder.decode(line))
        except Exception as error:  # a backend may raise anything; its row says what
            reply = protocol.Refusal(*explained(error))
        send(reply)


class TargetWorker:
    """A backend and the operations it has prepared."""

    def __init__(self, job: protocol.Job) -> None:
        self._job = job
        # What is reported as the import is that of NumPy, which every framework here needs, and of the framework;
        # the search for plug-ins and our own modules in between are not.
        start = time.perf_counter()
        importlib.import_module("numpy")
        import_s = time.perf_counter() - start
        cls = registry.load(job.target.backend)
        if reason := cls.lacks(job.target.device, job.dtype, job.precision):
            raise UnsupportedError(reason)
        start = time.perf_counter()
        self._backend = cls(mode=job.target.mode, device=job.target.device, precision=job.precision)
        import_s += time.perf_counter() - start
        self._programs: dict[str, Any] = {}
        # Only now what the harness itself needs: the framework's import is what was timed.
        from ..machine.memory import resident

        import_bytes = resident()
        from ..machine import facts

        self.ready = protocol.Ready(
            import_s,
            import_bytes,
            cls.probe().version,
            facts.device_name(job.target.device),
            facts.denormals(self._backend),
            facts.blas(),
            self._backend.libraries(),
        )

    def answer(self, request: protocol.AnyRequest) -> protocol.AnyReply:
        """Do what the parent asks."""
        match request:
            case protocol.Prepare():
                return self._prepare(request)
            case protocol.Visit():
                from .engine import time_visit

                operation, program, _ = self._programs[request.operation]
                return time_visit(self._backend, operation, program, request.number)
            case protocol.FindCeilings():
                from .ceilings import find_ceilings

                return protocol.CeilingsFound(find_ceilings(self._backend, self._job.dtype, self._job.precision))
            case protocol.Check():
                return protocol.Checked(self._verify(request.operation))

    def _prepare(self, request: protocol.Prepare) -> protocol.AnyReply:
        from ..machine.memory import CaseMemory
        from ..operations import operation as make
        from ..verification.answers import read_answers
        from .engine import first_call, warm_up

        operation = make(request.operation, self._job.spec)
        if operation.spec.batch < operation.minimum_batch:
            raise UnsupportedError(
                f"{operation.name} needs a batch of at least {operation.minimum_batch}, not {operation.spec.batch}"
            )
        inputs, answers = read_answers(Path(self._job.answers), operation, self._job.dtype)
        memory = CaseMemory(self._backend)
        program, prepare_s, first_run_s = first_call(self._backend, operation, inputs)
        memory.prepared()
        self._programs[operation.name] = operation, program, answers
        prepared = protocol.Prepared(prepare_s, first_run_s, self._verify(operation.name))
        if not (request.timed and prepared.verification.passed):
            return prepared
        memory.warming()
        warm = warm_up(self._backend, operation, program, request.cap_s, request.number)
        warmed = protocol.Warmed(warm.number, program.iterations, warm.seconds, warm.steady, *memory.peaks())
        return msgspec.structs.replace(prepared, warmed=warmed)

    def _verify(self, name: str) -> Any:
        from ..verification.gate import verify

        operation, program, answers = self._programs[name]
        return verify(program, operation, answers, self._job.dtype, self._job.precision)


if __name__ == "__main__":
    main()
