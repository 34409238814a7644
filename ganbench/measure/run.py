"""Rounds of fresh workers: start, prepare, verify, warm up, then time short blocks in turns.

In each round every target has a process of its own, and the baseline a second one as a permanent A/A
control. Blocks are interleaved across the workers, so that whatever slows the machine slows all of them;
workers whose turn it is not are stopped, because their threads would spin beside the one that is timed.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .. import registry
from ..data import load_images, staged_images
from ..errors import GanbenchError, StorageError
from ..operations import operation as make_operation
from ..plan import Case, Plan
from ..records import Measurement, Record, RunEnd, Status, Verification, WorkerRecord
from .environment import can_pin
from .oracle import IMAGES, OracleJob
from .process import Worker, WorkerLostError, child_environment
from .protocol import Block, Check, Checked, Job, Prepare, Prepared, Refusal, Timed, Warm, Warmed
from .statistics import MIN_ROUNDS, half_width, speed_ratio

Progress = Callable[[float, str], None]  # (share done, what is being done)


def stage(plan: Plan) -> np.ndarray:
    """Return the real images of every staged batch; raises ``DataError`` for input that does not fit."""
    return staged_images(load_images(plan.spec, plan.data), plan.spec, plan.seed)


def run(plan: Plan, images: np.ndarray, write: Callable[[Record], None], progress: Progress) -> str:
    """Carry out ``plan``, writing each record as it is known; return why it ended.

    Raises ``GanbenchError`` where the oracle fails. On KeyboardInterrupt every process is gone before it
    is passed on.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ganbench-", ignore_cleanup_errors=True) as folder:
            np.save(Path(folder) / IMAGES, images)
            progress(0.0, "asking the oracle")
            _ask_oracle(plan, folder)
            return Rounds(plan, folder, write, progress).run()
    except OSError as error:
        raise StorageError(
            f"cannot write temporary files to {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to another folder"
        ) from error


def _ask_oracle(plan: Plan, folder: str) -> None:
    """Run the oracle in a process of its own; it leaves its answers in ``folder``."""
    job = OracleJob(plan.spec, list(plan.operations), plan.dtype, folder, os.getpid())
    with subprocess.Popen(
        [sys.executable, "-m", "ganbench.measure.oracle"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment({}, plan.threads),
    ) as oracle:
        try:
            _, errors = oracle.communicate(msgspec.json.encode(job))
        except BaseException:
            oracle.kill()
            raise
    if oracle.returncode:
        said = errors.decode(errors="replace").strip().splitlines()
        raise GanbenchError(f"the oracle ended with exit code {oracle.returncode}: {said[-1] if said else ''}")


class Timings:
    """What one worker has gathered for one case in this round."""

    def __init__(self, prepared: Prepared, warmed: Warmed | None) -> None:
        self.prepared = prepared
        self.warmed = warmed
        self.samples: list[float] = []
        self.cores: list[float] = []
        self.order: list[int] = []


class Member:
    """One target's place in a round: its worker and what that has prepared."""

    def __init__(self, target: registry.Target, copy: bool) -> None:
        self.target = target
        self.copy = copy
        self.worker: Worker | None = None
        self.timings: dict[str, Timings] = {}

    def case(self, name: str) -> Case:
        return Case(name, self.target, self.copy)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.stop()
            self.worker = None


class Rounds:
    """The rounds of one run; cases that failed once are left out of later rounds."""

    def __init__(self, plan: Plan, folder: str, write: Callable[[Record], None], progress: Progress) -> None:
        self._plan, self._folder, self._write, self._progress = plan, folder, write, progress
        self._random = random.Random(plan.seed)
        self._failed: set[Case] = set()
        self._numbers: dict[tuple[str, str], int] = {}  # calls per block, fixed once calibrated
        self._medians: dict[Case, list[float]] = {}
        self._round = 0
        self._share = 0.0

    def run(self) -> str:
        """Measure rounds until the plan is fulfilled; return ``complete``, ``precision`` or ``budget``."""
        start, longest = time.monotonic(), 0.0
        while True:
            began = time.monotonic()
            self._round += 1
            self._one_round()
            longest = max(0.9 * longest, time.monotonic() - began)
            elapsed = time.monotonic() - start
            reason = self._why_stop(elapsed, longest)
            if reason:
                self._write(RunEnd(reason=reason, rounds=self._round, seconds=elapsed))
                return reason
            rounds = self._plan.rigor.rounds
            self._share = self._round / rounds if rounds else elapsed / self._plan.rigor.budget_s

    def _why_stop(self, elapsed: float, longest: float) -> str:
        """Say why no further round is due, or ''. Significance is never a reason."""
        rigor = self._plan.rigor
        if not self._plan.timed or not set(self._plan.cases) - self._failed:
            return "complete"
        if rigor.rounds:
            return "complete" if self._round >= rigor.rounds else ""
        if elapsed + longest > rigor.budget_s:
            return "budget"
        return "precision" if self._round >= MIN_ROUNDS and self._widest() <= rigor.goal else ""

    def _widest(self) -> float:
        """Return the largest half-width of any ratio so far."""
        baseline = next(target for target in self._plan.targets if target.label == self._plan.baseline)
        widths = [0.0]
        for case, medians in self._medians.items():
            against = self._medians.get(Case(case.operation, baseline), [])
            if case in self._failed or (case.target == baseline and not case.copy) or len(against) != len(medians):
                continue
            widths.append(half_width(speed_ratio(against, medians)))
        return max(widths)

    def _one_round(self) -> None:
        members = [Member(*member) for member in self._plan.members]
        if self._plan.timed:
            self._random.shuffle(members)
        try:
            for position, member in enumerate(members):
                self._tell(position / len(members) / 2, f"preparing {member.target}")
                self._prepare(member, list(self._plan.operations))
            if self._plan.timed:
                for position, name in enumerate(self._plan.operations):
                    self._tell(0.5 + position / len(self._plan.operations) / 2, f"timing {name}")
                    self._time(name, members)
        finally:
            for member in members:
                member.stop()

    def _tell(self, share_of_round: float, text: str) -> None:
        rigor = self._plan.rigor
        rounds = rigor.rounds or max(MIN_ROUNDS, self._round)
        self._progress(min(0.99, self._share + share_of_round / rounds), f"round {self._round}: {text}")

    # Preparing ------------------------------------------------------------------------------------

    def _prepare(self, member: Member, names: list[str]) -> None:
        """Bring a worker up with every operation that it can do; what it cannot becomes a row."""
        while True:
            names = [name for name in names if member.case(name) not in self._failed]
            if not names:
                return member.stop()
            member.timings = {}
            try:
                member.worker = self._start(member)
            except (WorkerLostError, GanbenchError) as error:
                for name in names:
                    self._fail(member.case(name), *_status(error))
                return None
            for name in names:
                try:
                    self._prepare_one(member, member.worker, name)
                except WorkerLostError as error:
                    self._fail(member.case(name), error.status, error.reason)
                    break  # the others need a new worker
            else:
                return member.worker.pause()

    def _start(self, member: Member) -> Worker:
        plan, target = self._plan, member.target
        cache = Path(self._folder) / "cache" / target.label.replace("@", "-").replace(":", "-")
        extra = registry.load(target.backend).environment(target.device, plan.dtype, plan.precision, str(cache))
        job = Job(
            target=target,
            spec=plan.spec,
            dtype=plan.dtype,
            precision=plan.precision,
            cpus=list(plan.cpus) if can_pin() else [],
            answers=self._folder,
            parent=os.getpid(),
        )
        worker = Worker(job, child_environment(extra, plan.threads), plan.timeout_s)
        self._write(
            WorkerRecord(
                round=self._round,
                target=target.label,
                copy=member.copy,
                **{name: getattr(worker.ready, name) for name in worker.ready.__struct_fields__},
            )
        )
        return worker

    def _prepare_one(self, member: Member, worker: Worker, name: str) -> None:
        plan, case, key = self._plan, member.case(name), (member.target.label, name)
        prepared = worker.ask(Prepare(name))
        if isinstance(prepared, Refusal):
            return self._fail(case, prepared.status, prepared.reason)
        assert isinstance(prepared, Prepared)
        if not prepared.verification.passed:
            return self._fail(case, "invalid", prepared.verification.reason, prepared.verification)
        if not plan.timed:
            member.timings[name] = Timings(prepared, None)
            return self._record(member, name, "ok", verification=prepared.verification)
        warmed = worker.ask(Warm(name, self._numbers.get(key, 0), plan.rigor.block_s, plan.rigor.warm_cap_s))
        if isinstance(warmed, Refusal):
            return self._fail(case, warmed.status, warmed.reason)
        assert isinstance(warmed, Warmed)
        self._numbers[key] = warmed.number
        member.timings[name] = Timings(prepared, warmed)
        return None

    # Timing ---------------------------------------------------------------------------------------

    def _time(self, name: str, members: list[Member]) -> None:
        """Time one operation on all workers, block by block in balanced random order."""
        racing = [member for member in members if name in member.timings]
        for order in _balanced_orders(racing, self._plan.rigor.passes, self._random):
            for place, member in enumerate(order):
                if member.case(name) in self._failed or member.worker is None:
                    continue
                timings = member.timings[name]
                try:
                    timed = member.worker.ask(Block(name, self._numbers[member.target.label, name]))
                    member.worker.pause()
                except WorkerLostError as error:
                    self._lose(member, name, error)
                    continue
                if isinstance(timed, Refusal):
                    self._fail(member.case(name), timed.status, timed.reason)
                    continue
                assert isinstance(timed, Timed)
                timings.samples.append(timed.seconds)
                timings.cores.append(timed.cores)
                timings.order.append(place)
        for member in racing:
            if member.case(name) not in self._failed and member.worker is not None:
                self._finish(member, member.worker, name)

    def _finish(self, member: Member, worker: Worker, name: str) -> None:
        """Let the gate look once more, then write the row."""
        try:
            checked = worker.ask(Check(name))
            worker.pause()
        except WorkerLostError as error:
            return self._lose(member, name, error)
        if isinstance(checked, Refusal):
            return self._fail(member.case(name), checked.status, checked.reason)
        assert isinstance(checked, Checked)
        if not checked.verification.passed:
            reason = f"after it was timed, {checked.verification.reason}"
            return self._fail(member.case(name), "invalid", reason, checked.verification)
        samples = member.timings[name].samples
        self._medians.setdefault(member.case(name), []).append(float(np.median(samples)))
        return self._record(member, name, "ok", verification=member.timings[name].prepared.verification)

    def _lose(self, member: Member, name: str, error: WorkerLostError) -> None:
        """Write the row of a worker that died or hung, and bring up another for what is still to come."""
        self._fail(member.case(name), error.status, error.reason)
        names = list(self._plan.operations)
        self._prepare(member, names[names.index(name) + 1 :])

    # Rows -----------------------------------------------------------------------------------------

    def _record(
        self,
        member: Member,
        name: str,
        status: Status,
        reason: str = "",
        verification: Verification | None = None,
    ) -> None:
        timings = member.timings[name]
        warmed = timings.warmed
        self._write(
            self._row(
                member.case(name),
                status=status,
                reason=reason,
                iterations=self._numbers[member.target.label, name] * warmed.iterations if warmed else 0,
                samples=timings.samples,
                cores=timings.cores,
                prepare_s=timings.prepared.prepare_s,
                first_run_s=timings.prepared.first_run_s,
                steady=warmed.steady if warmed else None,
                order=timings.order,
                verification=verification,
            )
        )

    def _fail(self, case: Case, status: Status, reason: str, verification: Verification | None = None) -> None:
        self._failed.add(case)
        self._write(self._row(case, status=status, reason=reason, verification=verification))

    def _row(self, case: Case, **fields: Any) -> Measurement:
        operation = make_operation(case.operation, self._plan.spec)
        return Measurement(
            round=self._round,
            operation=case.operation,
            target=case.target.label,
            copy=case.copy,
            shape=operation.shape,
            flops=operation.flops,
            bytes=operation.bytes(np.dtype(self._plan.dtype).itemsize),
            **fields,
        )


def _status(error: WorkerLostError | GanbenchError) -> tuple[Status, str]:
    if isinstance(error, WorkerLostError):
        return error.status, error.reason
    return "failed", str(error)


def _balanced_orders(members: list[Member], passes: int, rng: random.Random) -> Iterator[list[Member]]:
    """Yield one order per pass: rows of random cyclic Latin squares, so that every place is shared evenly."""
    for index in range(passes):
        turn = index % max(1, len(members))
        if turn == 0:
            square = rng.sample(members, len(members))
        yield square[turn:] + square[:turn]
