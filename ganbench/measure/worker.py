"""The process of one target in one round: it imports, prepares and times, as the parent asks.

Run as ``python -m ganbench.measure.worker``; the first line on standard input is the ``Job``.
"""

import itertools
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import registry
from ..errors import UnsupportedError
from ..results.records import Ceiling
from . import protocol
from .child import begin, decoded, explained, import_seconds

if TYPE_CHECKING:
    from ..backend import Program
    from ..operation import Operation


def main() -> None:
    job, send = begin(protocol.Job)
    heard = time.perf_counter()

    def tell(reply: protocol.AnyReply) -> None:
        send(protocol.Message(heard, time.perf_counter(), reply))

    try:
        worker = TargetWorker(job)
    except Exception as error:
        return tell(protocol.Refusal(*explained(error)))
    tell(worker.ready)
    for line in sys.stdin.buffer:
        heard = time.perf_counter()
        try:
            reply = worker.answer(decoded(line, protocol.AnyRequest))
        except Exception as error:  # a backend may raise anything; its row says what
            reply = protocol.Refusal(*explained(error))
        tell(reply)


def import_own() -> None:
    """Import what a worker needs besides the framework: once in a fork server, and not in each of its workers."""
    from ..machine import facts, memory  # noqa: F401
    from ..operations import fresh  # noqa: F401
    from ..verification import gate, sync_check  # noqa: F401
    from . import cold, engine  # noqa: F401


class TargetWorker:
    """A backend and the operations it has prepared."""

    def __init__(self, job: protocol.Job) -> None:
        self._job = job
        # The reported import time is that of NumPy, which every framework here needs, and of the framework. The search
        # for plug-ins and ganbench's own modules are not in it.
        import_s = import_seconds("numpy")
        cls = registry.load(job.target.backend)
        if reason := cls.lacks(job.target.device, job.dtype, job.precision):
            raise UnsupportedError(reason)
        start = time.perf_counter()
        self._backend = cls(mode=job.target.mode, device=job.target.device, precision=job.precision)
        import_s += time.perf_counter() - start
        self._programs: dict[str, Any] = {}
        self._ceilings: Iterator[Ceiling] | None = None  # while they are measured
        # The harness's own imports come now: only the framework's import was timed.
        from ..machine.memory import resident

        import_bytes = resident()
        from ..machine import facts
        from . import cold, engine

        is_cold = job.caches == "cold"
        self._timer = cold.Cold(self._backend).time_visit if is_cold else engine.time_visit
        self._visit_s = cold.VISIT_S if is_cold else engine.VISIT_S
        self.ready = protocol.Ready(
            import_s,
            import_bytes,
            cls.probe().version,
            facts.device_name(job.target.device),
            "" if job.described else facts.denormals(self._backend),
            [] if job.described else facts.blas(),
            self._backend.libraries(),
            platform.python_version() if job.target.python else "",
        )

    def answer(self, request: protocol.AnyRequest) -> protocol.AnyReply:
        """Do what the parent asks."""
        match request:
            case protocol.Prepare():
                return self._prepare(request)
            case protocol.FindCeilings():
                from .ceilings import find_ceilings

                if self._ceilings is None:
                    self._ceilings = find_ceilings(self._backend, self._job.dtype, self._job.precision)
                visit = next(self._ceilings, None)
                if visit is None:
                    self._ceilings = None
                return protocol.CeilingVisit(visit)
        operation, program, memory, fresh = self._programs[request.operation]
        match request:
            case protocol.Show():
                from ..verification.gate import shown_after

                program.stage(fresh(0))
                _left_in(request.file, shown_after(request.iterations, program))
                return protocol.Shown()
            case protocol.Wait():
                from ..verification.sync_check import left_before, unfinished

                if operation.stateful:
                    calls = max(2, request.iterations // program.iterations)  # ``unfinished`` compares with one call
                    return protocol.Waited(unfinished(self._backend, program, calls, request.share))
                # What is left is of one call, so it is held against one.
                before_s = left_before(self._backend, program) if self._backend.queues else 0.0
                return protocol.Waited(unfinished(self._backend, program, 1, 1.0), before_s)
            case protocol.Warm():
                from .engine import warm_up

                memory.warming()
                seeds = itertools.count(request.seed)
                warm = warm_up(
                    self._backend, operation, program, request.cap_s, request.number, self._timer, self._visit_s,
                    lambda: program.stage(fresh(next(seeds))),
                )  # fmt: skip
                host, device = memory.peaks()
                return msgspec.structs.replace(warm, host_peak_bytes=host, device_peak_bytes=device)
            case protocol.Visit():
                return self._visit(request, operation, program, lambda: program.stage(fresh(request.seed)))
            case protocol.Spend():
                from .engine import spend

                return spend(self._backend, operation, program, request.number)
            case protocol.Count():
                from .callgrind import count

                found = count(
                    self._backend, operation, program, lambda seed: program.stage(fresh(seed)), self._job.folder
                )
                return protocol.Counted(found)

    def _visit(
        self, request: protocol.Visit, operation: "Operation", program: "Program", begin: Callable[[], None]
    ) -> protocol.Timed:
        from ..verification.gate import shown_after
        from .engine import Examination

        examined = request.examined
        if examined is None:
            return self._timer(self._backend, operation, program, request.number, begin)
        looked = protocol.Looked(0, 0.0)

        def look(calls: int) -> None:
            nonlocal looked
            start = time.perf_counter()
            outputs = program.outputs()
            looked = protocol.Looked(calls * program.iterations, time.perf_counter() - start)
            _left_in(examined.files[0], outputs)
            for _ in range(examined.then):
                program()
            _left_in(examined.files[1], program.outputs())
            _left_in(examined.files[2], shown_after(examined.path, program))

        examination = Examination(examined.after, look)
        timed = self._timer(self._backend, operation, program, request.number, begin, examination)
        return msgspec.structs.replace(timed, looked=looked)

    def _prepare(self, request: protocol.Prepare) -> protocol.AnyReply:
        import numpy as np

        from ..machine.memory import CaseMemory
        from ..operations import operation as make
        from ..operations.fresh import FreshInputs
        from ..verification.answers import IMAGES
        from .engine import first_call

        operation = make(request.operation, self._job.spec)
        if self._job.spec.batch < operation.minimum_batch:
            raise UnsupportedError(
                f"{operation.name} needs a batch of at least {operation.minimum_batch}, not {self._job.spec.batch}"
            )
        images = np.load(Path(self._job.folder) / IMAGES, allow_pickle=False)
        inputs = operation.inputs(request.seed, self._job.dtype, images)
        memory = CaseMemory(self._backend)
        program, prepare_s, first_run_s = first_call(self._backend, operation, inputs)
        memory.prepared()
        self._programs[operation.name] = operation, program, memory, FreshInputs(operation, inputs)
        _left_in(request.file, program.outputs())
        program()  # whatever only a second call compiles is compiled now, and not in a visit
        self._backend.synchronize(program.result)
        return protocol.Prepared(prepare_s, first_run_s, program.iterations, inputs.digest())


def _left_in(file: str, outputs: Sequence[Any]) -> None:
    """Write the outputs of a program for the oracle, one array after the other."""
    import numpy as np

    with Path(file).open("wb") as stream:
        for array in outputs:
            np.save(stream, np.asarray(array), allow_pickle=False)


if __name__ == "__main__":
    main()
