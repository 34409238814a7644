"""One target in one round: its worker, what the worker has prepared, and the rows that follow."""

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..operations import operation as make_operation
from ..registry import Target
from ..results.records import Measurement, Status, Verification, WorkerRecord
from ..verification.gate import GATED_ITERATIONS, counts
from . import protocol
from .child import explained
from .draws import draw_visit, left_by, new_seed
from .engine import LEAD_IN_S
from .fork_server import ForkServer
from .ledger import Ledger, Timings
from .oracle import LATER, Asked, OracleClient
from .plan import Case, Plan
from .process import Worker, WorkerLostError

R = TypeVar("R", bound=protocol.Reply)
T = TypeVar("T")
UNFINISHED = 0.05  # the share of a visit's work that may be left when synchronize returns: more would change a ratio


class Member:
    """One worker of a round. Every failure becomes a row; nothing is raised."""

    def __init__(
        self, plan: Plan, folder: str, ledger: Ledger, oracle: OracleClient, round_number: int, target: Target,
        copy: bool, server: ForkServer | None = None,
    ) -> None:  # fmt: skip
        self.target = target
        self._server = server
        self._plan, self._folder, self._ledger, self._oracle = plan, folder, ledger, oracle
        self._round, self.copy = round_number, copy
        self._names = plan.names(target, copy, round_number)
        self._written: set[str] = set()  # operations that have their row of this round
        self._worker: Worker | None = None
        self._greeted = False
        self._timings: dict[str, Timings] = {}
        self._examined: dict[str, int] = {}  # the pass in which an operation is examined

    @property
    def pid(self) -> int | None:
        """The number of its process; None where there is none."""
        return None if self._worker is None else self._worker.pid

    def spawn(self) -> None:
        """Start the process, unless there is one, without waiting for it."""
        if self._worker is not None or not self._pending():
            return
        try:
            self._worker = Worker(self._plan, self.target, self._folder, self._server, described=self._round > 1)
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
        facts = {name: getattr(ready, name) for name in ready.__struct_fields__} | {"forked": self._worker.forked}
        self._ledger.write(WorkerRecord(round=self._round, target=self.target.label, copy=self.copy, **facts))
        self._greeted = True
        self._worker.pause()

    def prepare(self) -> None:
        """Prepare, verify and warm up all operations that are pending, then pause."""
        while self._pending():
            self.spawn()
            self.greet()
            self._timings = {}
            for name in self._pending():
                try:
                    self._prepare_one(name)
                except WorkerLostError as error:
                    self._lost(name, error)
                    break  # the others need a new worker
            else:
                self._pause()
                return

    def _prepare_one(self, name: str) -> None:
        seed, digest, _ = self._oracle.inputs().get(name, (0, "", 0))
        prepared = self._ask(name, protocol.Prepare(name, seed, file := self._oracle.file()), protocol.Prepared)
        if prepared is None:
            return
        if prepared.digest != digest:
            return self._fail(name, "failed", "its inputs differ from those of the reference, so it cannot be checked")
        self._timings[name] = timings = Timings(prepared, [(prepared.iterations, file)])
        if self._round == 1:  # in later rounds these outputs are checked together with those after the timing
            verification = self._gate(name, timings, self._oracle.inputs()[name][2])
            if verification is None or not self._waits(name, GATED_ITERATIONS, 1.0):
                return
            if not verification.passed:
                return self._fail(name, "invalid", verification.reason, verification)
        if self._plan.count:
            if counted := self._ask(name, protocol.Count(name), protocol.Counted):
                self._row(name, status="ok", verification=timings.verification, instructions=counted.instructions)
            return
        if not self._plan.timed:
            return self._record(name)
        timings.warmed = self._ledger.warmed.get(self.case(name))  # by an earlier worker: each visit has a lead-in
        if timings.warmed is None:
            number = self._ledger.numbers.get((self.target.label, name), 0)
            request = protocol.Warm(name, number, self._plan.rigor.warm_cap_s, new_seed())
            timings.warmed = warmed = self._ask(name, request, protocol.Warmed)
            if warmed is not None:
                self._ledger.has_warmed(self.case(name), warmed)

    def _gate(self, name: str, timings: Timings, most: int) -> Verification | None:
        """Have the oracle compare the program's outputs from its staged state, after ``most`` iterations and before.

        None: it gave no outputs; a row says so. A reset that does not reset is found, since calls were made before.
        """
        if (asked := self._compared(name, timings, most)) is None:
            return None
        self._oracle.settle()
        timings.verification = asked.reply
        return asked.reply

    def _compared(self, name: str, timings: Timings, most: int) -> Asked[Verification] | None:
        """Ask for what ``_gate`` returns, without waiting for it."""
        iterations = timings.prepared.iterations
        for count in counts(iterations, most):
            if self._ask(name, protocol.Show(name, count, file := self._oracle.file()), protocol.Shown) is None:
                return None
            timings.shown.append((count, file))
        shown, timings.shown = timings.shown, []
        return self._oracle.compare(name, iterations, shown)

    def _waits(self, name: str, iterations: int, share: float) -> bool:
        """Return whether ``synchronize`` waits for the work; if it does not, a row says so."""
        self._oracle.settle()  # this is a question of time, so nothing runs beside it
        waited = self._ask(name, protocol.Wait(name, iterations, share), protocol.Waited)
        if waited is not None and waited.reason:
            self._fail(name, "invalid", waited.reason)
        return waited is not None and not waited.reason

    def tell(self, request: protocol.AnyRequest, kind: type[R], cpu: int | None = None) -> R | protocol.Refusal | None:
        """Return the worker's answer, begun on ``cpu``, to a request that makes no row; None if there is no worker."""
        if self._worker is not None:
            with contextlib.suppress(WorkerLostError):  # the next request will report it
                reply = self._worker.ask(request, kind, cpu)
                self._worker.pause()
                return reply
        return None

    def number(self, name: str) -> int:
        """Return how many calls make a visit to an operation that is warm."""
        return self._ledger.numbers[self.target.label, name]

    def can_time(self, name: str) -> bool:
        """Whether an operation is prepared, warm and has not failed."""
        timings = self._timings.get(name)
        return timings is not None and timings.warmed is not None and self.case(name) not in self._ledger.failed

    def case(self, name: str) -> Case:
        """Return the case that this member measures."""
        return Case(name, self.target, self.copy)

    def visit_s(self, name: str) -> float:
        """Return the seconds of a visit, untimed parts included: from the last round, or else from the warm-up."""
        warmed = self._timings[name].warmed
        assert warmed is not None
        expected = warmed.number * (warmed.seconds + warmed.displace_s) + max(LEAD_IN_S, warmed.seconds)
        return self._ledger.visit_s.get(self.case(name), expected)

    def visit(self, name: str, number: int, place: int, cpu: int | None) -> None:
        """Time one visit, which begins on ``cpu``, while all others are paused; ``place``: its place in the pass."""
        start = time.perf_counter()
        timed = self._visited(name, cpu, number == self._examined.get(name))
        if timed is not None:
            timings = self._timings[name]
            timings.visits[number] = timed
            timings.order.append(place)
            timings.spent_s.append(time.perf_counter() - start)

    def examine_in(self, name: str, number: int) -> None:
        """Have the visit of pass ``number`` examined; the program does not know this."""
        self._examined[name] = number

    def examine(self, name: str) -> None:
        """Make one more visit, which is examined; its time does not count."""
        self._visited(name, None, examined=True)

    def _visited(self, name: str, cpu: int | None, examined: bool) -> protocol.Timed | None:
        """Make a visit; what an examined one leaves in files ``hand_in`` has checked."""
        iterations = self._timings[name].prepared.iterations
        request = draw_visit(name, self.number(name), iterations, self._oracle if examined else None)
        timed = self._surviving(name, lambda: self._ask(name, request, protocol.Timed, cpu))
        if timed is not None and (left := left_by(request, timed, iterations)):
            self._timings[name].left = left
        return timed

    def was_examined(self, name: str) -> bool:
        """Whether a visit of an operation was examined in this round, by the worker that there is now."""
        return self._timings[name].left is not None

    def used_below(self, name: str, seconds: Mapping[int, float]) -> None:
        """Add the processor time that processes below the worker used while an operation was timed, by worker."""
        if name in self._timings and self.pid is not None:
            self._timings[name].below_s += seconds.get(self.pid, 0.0)

    def share_of_first(self, name: str) -> float:
        """Return the time of an operation in this round as a share of that in the first."""
        return self._timings[name].share_of(self._ledger.visits.get(self.case(name), {}).get(1))

    def hand_in(self, name: str) -> None:
        """Have all outputs of an operation checked that was timed; the answers are there when the oracle has settled.

        While it checks the outputs of one worker, the next worker shows its own.
        """
        self._surviving(name, lambda: self._hand_in(name, self._timings[name]))

    def _hand_in(self, name: str, timings: Timings) -> None:
        if timings.left is not None:
            examine, look_s = timings.left
            assert timings.warmed is not None
            # If the look took long, there was work left, or the outputs are large.
            suspicious = look_s > UNFINISHED * timings.warmed.number * timings.warmed.seconds
            iterations = timings.warmed.number * timings.prepared.iterations
            if suspicious and not self._waits(name, iterations, UNFINISHED):
                return
            timings.asked.append(self._oracle.examine(examine))
        # It has passed with more iterations before. (A call of several may need those, too.)
        most = LATER if timings.prepared.iterations == 1 else self._oracle.inputs()[name][2]
        if (asked := self._compared(name, timings, most)) is not None:
            timings.asked.append(asked)

    def finish(self, name: str) -> None:
        """Write the row of an operation that was handed in; the oracle has settled."""
        timings = self._timings[name]
        for asked in timings.asked:
            if not asked.reply.passed:
                return self._fail(name, "invalid", f"after it was timed, {asked.reply.reason}", asked.reply)
        timings.verification = timings.verification or timings.asked[-1].reply
        assert self._worker is not None  # or it could not be timed
        if reason := self._worker.clock.contradiction or timings.misfit():
            return self._fail(name, "impossible", reason)
        if timings.visits:
            self._ledger.visits.setdefault(self.case(name), {})[self._round] = timings.seconds
            self._ledger.visit_s[self.case(name)] = statistics.fmean(timings.spent_s)
        self._record(name)

    def stop(self) -> None:
        """Kill the worker; may be called again."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    # Rows -----------------------------------------------------------------------------------------

    def _pending(self) -> list[str]:
        """Return the operations that have no row in this round and have not failed in an earlier one."""
        return [one for one in self._names if one not in self._written and self.case(one) not in self._ledger.failed]

    def _pause(self) -> None:
        if self._worker is not None:
            self._worker.pause()

    def _ask(self, name: str, request: protocol.AnyRequest, expected: type[R], cpu: int | None = None) -> R | None:
        """Return the worker's reply; None if it refused, and a row says so."""
        if self._worker is None:  # it was lost in an earlier operation, and could not be replaced
            return None
        reply = self._worker.ask(request, expected, cpu)
        if isinstance(reply, protocol.Refusal):
            self._fail(name, reply.status, reply.reason)
            return None
        return reply

    def _lost(self, name: str, error: WorkerLostError) -> None:
        self._fail(name, error.status, error.reason)
        self.stop()

    def _surviving(self, name: str, action: Callable[[], T]) -> T | None:
        """Return the result of ``action``. If the worker is lost, start another for the other operations.

        What the lost one has timed of them is lost too, because it can be checked no more.
        """
        try:
            done = action()
        except WorkerLostError as error:
            self._lost(name, error)
            self.prepare()
            return None
        self._pause()
        return done

    def _record(self, name: str) -> None:
        self._row(name, status="ok", **self._timings[name].fields())

    def _fail(self, name: str, status: Status, reason: str, verification: Verification | None = None) -> None:
        self._ledger.failed.add(self.case(name))
        self._row(name, status=status, reason=reason, verification=verification)

    def _fail_all(self, status: Status, reason: str) -> None:
        for name in self._pending():
            self._fail(name, status, reason)

    def _row(self, name: str, **fields: Any) -> None:
        operation = make_operation(name, self._plan.spec)
        self._written.add(name)
        self._ledger.write(
            Measurement(
                round=self._round, operation=name, target=self.target.label, copy=self.copy,
                shape=operation.shape.sizes, flops=operation.flops, bytes=operation.bytes(self._plan.dtype),
                elapsed_s=self._ledger.elapsed(), **fields,
            )
        )  # fmt: skip
