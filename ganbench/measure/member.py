"""One target in one round: its worker, what the worker has prepared, and the rows that follow."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import registry
from ..machine.environment import can_pin
from ..operations import operation as make_operation
from ..registry import Target
from ..results.records import CeilingRecord, Measurement, Record, Status, Verification, WorkerRecord
from . import protocol
from .child import explained
from .plan import Case, Plan
from .process import Worker, WorkerLostError, child_environment


class Ledger:
    """What the rounds of a run remember of one another."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.write = write
        self.failed: set[Case] = set()  # left out of later rounds
        self.numbers: dict[tuple[str, str], int] = {}  # calls per block, fixed once calibrated
        self.blocks: dict[Case, dict[int, list[float]]] = {}  # by round
        self.start = time.monotonic()

    def elapsed(self) -> float:
        """Return seconds since the run began, without the time in which it was interrupted."""
        return time.monotonic() - self.start


def launch(plan: Plan, target: Target, folder: str) -> Worker:
    """Start the process of one target; ``folder`` holds the oracle's answers and what the target compiles.

    Raises ``BrokenBackendError`` for a plug-in that fails, and whatever the system says of impossible variables.
    """
    cache = Path(folder) / "cache" / target.label.replace("@", "-").replace(":", "-")
    extra = registry.environment(target, plan.dtype, plan.precision, str(cache))
    job = protocol.Job(
        target=target,
        spec=plan.spec,
        dtype=plan.dtype,
        precision=plan.precision,
        cpus=list(plan.cpus) if can_pin() else [],
        answers=folder,
        parent=os.getpid(),
    )
    return Worker(job, child_environment(extra, plan.threads), plan.timeout_s)


@dataclass
class Timings:
    """What one worker has gathered for one operation; ``order`` holds its turn in each pass."""

    prepared: protocol.Prepared
    warmed: protocol.Warmed | None = None
    blocks: list[protocol.Timed] = field(default_factory=list)
    order: list[int] = field(default_factory=list)

    @property
    def samples(self) -> list[float]:
        """Seconds per iteration of each block."""
        return [block.seconds for block in self.blocks]


class Member:
    """One worker of a round. Whatever becomes of it becomes a row; nothing is raised."""

    def __init__(self, plan: Plan, folder: str, ledger: Ledger, round_number: int, target: Target, copy: bool) -> None:
        self.target = target
        self._plan, self._folder, self._ledger = plan, folder, ledger
        self._round, self.copy = round_number, copy
        self._names = plan.names(target, copy)
        self._worker: Worker | None = None
        self._greeted = False
        self._timings: dict[str, Timings] = {}

    def spawn(self) -> None:
        """Start the process, unless there is one, without waiting for it."""
        if self._worker is not None or not self._pending(self._names):
            return
        try:
            self._worker = launch(self._plan, self.target, self._folder)
        except Exception as error:  # a plug-in may raise anything, or ask for variables that no process can have
            self._fail_all(*explained(error))
        self._greeted = False

    def greet(self) -> None:
        """Wait until the framework is imported, write down what it is, and pause the worker."""
        if self._worker is None or self._greeted:
            return
        try:
            ready = self._worker.wait()
        except WorkerLostError as error:
            self._fail_all(error.status, error.reason)
            return self.stop()
        facts = {name: getattr(ready, name) for name in ready.__struct_fields__}
        self._ledger.write(WorkerRecord(round=self._round, target=self.target.label, copy=self.copy, **facts))
        self._greeted = True
        self._worker.pause()

    def prepare(self, names: tuple[str, ...] | None = None) -> None:
        """Prepare, verify and warm up ``names``, or all operations that are pending, then pause."""
        names = self._names if names is None else names
        while names := self._pending(names):
            self.spawn()
            self.greet()
            self._timings = {}
            for name in self._pending(names):
                try:
                    self._prepare_one(name)
                except WorkerLostError as error:
                    self._lost(name, error)
                    break  # the others need a new worker
            else:
                if self._worker is not None:
                    self._worker.pause()
                return

    def _prepare_one(self, name: str) -> None:
        rigor = self._plan.rigor
        prepared = self._ask(name, protocol.Prepare(name))
        if not isinstance(prepared, protocol.Prepared):
            return
        if not prepared.verification.passed:
            return self._fail(name, "invalid", prepared.verification.reason, prepared.verification)
        self._timings[name] = Timings(prepared)
        if not self._plan.timed:
            return self._record(name)
        number = self._ledger.numbers.get((self.target.label, name), 0)
        # Whether it settles is seen in the first round, and later in the blocks that are timed.
        cap_s = rigor.warm_cap_s if self._round == 1 else 0.0
        warmed = self._ask(name, protocol.Warm(name, number, rigor.block_s, cap_s))
        if isinstance(warmed, protocol.Warmed):
            self._ledger.numbers[self.target.label, name] = warmed.number
            self._timings[name].warmed = warmed

    def measure_ceilings(self) -> None:
        """Write down what this target's library can do at best, while all others are paused."""
        if self._worker is None:
            return
        with contextlib.suppress(WorkerLostError):  # whoever asks it next finds out
            reply = self._worker.ask(protocol.FindCeilings(self._plan.rigor.block_s))
            if isinstance(reply, protocol.CeilingsFound):
                self._ledger.write(
                    CeilingRecord(library=self.target.backend, device=self.target.device, found=reply.found)
                )
            self._worker.pause()

    def can_time(self, name: str) -> bool:
        """Whether an operation is prepared, warm and has not failed."""
        timings = self._timings.get(name)
        return timings is not None and timings.warmed is not None and bool(self._pending((name,)))

    def time_block(self, name: str, place: int) -> None:
        """Time one block while all others are paused; ``place`` is its turn in this pass."""
        try:
            timed = self._ask(name, protocol.Block(name, self._ledger.numbers[self.target.label, name]))
        except WorkerLostError as error:
            return self._replace(name, error)
        if isinstance(timed, protocol.Timed):
            self._timings[name].blocks.append(timed)
            self._timings[name].order.append(place)
        if self._worker is not None:
            self._worker.pause()

    def finish(self, name: str) -> None:
        """Let the gate look once more at the program that was timed, then write the row."""
        try:
            checked = self._ask(name, protocol.Check(name))
        except WorkerLostError as error:
            return self._replace(name, error)
        if self._worker is not None:
            self._worker.pause()
        if not isinstance(checked, protocol.Checked):
            return
        if not checked.verification.passed:
            reason = f"after it was timed, {checked.verification.reason}"
            return self._fail(name, "invalid", reason, checked.verification)
        self._ledger.blocks.setdefault(self._case(name), {})[self._round] = self._timings[name].samples
        self._record(name)

    def stop(self) -> None:
        """Kill the worker; may be called again."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    # Rows -----------------------------------------------------------------------------------------

    def _case(self, name: str) -> Case:
        return Case(name, self.target, self.copy)

    def _pending(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if self._case(name) not in self._ledger.failed)

    def _ask(self, name: str, request: protocol.Prepare | protocol.Warm | protocol.Block | protocol.Check) -> Any:
        """Return the worker's reply; a refusal has become a row."""
        if self._worker is None:  # it was lost over an earlier operation, and nothing could replace it
            return None
        reply = self._worker.ask(request)
        if isinstance(reply, protocol.Refusal):
            self._fail(name, reply.status, reply.reason)
        return reply

    def _lost(self, name: str, error: WorkerLostError) -> None:
        self._fail(name, error.status, error.reason)
        self.stop()

    def _replace(self, name: str, error: WorkerLostError) -> None:
        """Bring up another worker for the operations that are still to be timed."""
        self._lost(name, error)
        self.prepare(self._names[self._names.index(name) + 1 :])

    def _record(self, name: str) -> None:
        timings, fields = self._timings[name], {}
        if (warmed := timings.warmed) is not None:
            fields = {
                "iterations": warmed.number * warmed.iterations,
                "iterations_per_call": warmed.iterations,
                "steady": warmed.steady,
                "host_peak_bytes": warmed.host_peak_bytes,
                "device_peak_bytes": warmed.device_peak_bytes,
            }
        self._row(
            name,
            status="ok",
            samples=timings.samples,
            cores=[block.cores for block in timings.blocks],
            latency_s=[block.latency_s for block in timings.blocks if block.latency_s is not None],
            device_s=[block.device_s for block in timings.blocks if block.device_s is not None],
            disturbances=[block.disturbance for block in timings.blocks],
            prepare_s=timings.prepared.prepare_s,
            first_run_s=timings.prepared.first_run_s,
            order=timings.order,
            verification=timings.prepared.verification,
            **fields,
        )

    def _fail(self, name: str, status: Status, reason: str, verification: Verification | None = None) -> None:
        self._ledger.failed.add(self._case(name))
        self._row(name, status=status, reason=reason, verification=verification)

    def _fail_all(self, status: Status, reason: str) -> None:
        for name in self._pending(self._names):
            self._fail(name, status, reason)

    def _row(self, name: str, **fields: Any) -> None:
        operation = make_operation(name, self._plan.spec)
        self._ledger.write(
            Measurement(
                round=self._round,
                operation=name,
                target=self.target.label,
                copy=self.copy,
                shape=operation.shape,
                flops=operation.flops,
                bytes=operation.bytes(self._plan.dtype),
                elapsed_s=self._ledger.elapsed(),
                **fields,
            )
        )
