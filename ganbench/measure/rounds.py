"""Rounds of fresh workers: start, prepare, verify, warm up, then visit them in turns.

In each round every target has a process of its own, and the baseline has a second one, the control. The workers are
visited in turns, so that whatever slows the machine slows all of them. All other workers are stopped meanwhile, because
their threads would spin beside the timed one.
"""

import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import asdict, replace

from ..data import load_images, staged_images
from ..errors import StorageError, refused
from ..machine import guard
from ..machine.energy import at_rest
from ..machine.processes import Strays
from ..results.records import EnergyRecord, Record, RunEnd, StrayRecord, digits
from ..verification.answers import IMAGES
from . import protocol
from .fork_server import ForkServer
from .ledger import Ledger
from .member import Member
from .oracle import OracleClient
from .plan import Case, Plan
from .process import fork_servers
from .run_ceilings import RunCeilings
from .schedule import Reason, Schedule, Share, orders, turns

BUSY = 0.02  # of a core, by processes that workers have started, is told
PARTS = 5  # into which the passes of a round are divided, because a machine's speed changes from second to second
EXAMINED = 1 / 12  # of the later rounds: the first is always examined
LEAVES = 0.2  # so much faster than in the first round, against the others, is examined as well
Progress = Callable[[float, str], None]  # (share done, what is being done, and on a second line what was seen so far)


class Pass(NamedTuple):
    """One pass of an operation: its number, the order of the workers, and the processor on which visits begin."""

    number: int
    order: list[Member]
    cpu: int | None


def stage(plan: Plan) -> np.ndarray:
    """Return the real images of every staged batch; raises ``DataError`` for input that does not fit."""
    return staged_images(load_images(plan.spec, plan.data), plan.spec, plan.seed)


def run_rounds(
    plan: Plan, images: np.ndarray, write: Callable[[Record], None], progress: Progress, recall: Callable[[Ledger], int]
) -> Generator[None, None, Reason]:
    """Carry out ``plan``, writing each record as it is known; give way after each round, and return why it ended.

    ``recall`` fills the ledger of a run that goes on, and says how many rounds of it are finished.

    Raises ``GanbenchError`` if the oracle fails. On KeyboardInterrupt all processes are killed before it is raised
    again.
    """
    with contextlib.ExitStack() as stack:
        with refused(StorageError, "cannot write temporary files", "; set TMPDIR to a folder with room"):
            folder = stack.enter_context(guard.workspace())
            np.save(Path(folder) / IMAGES, images)
        progress(0.0, "computing the reference results")
        ledger = Ledger(write)
        oracle = OracleClient(plan, folder)
        stack.callback(oracle.stop)
        return (yield from Rounds(plan, folder, ledger, oracle, progress, recall(ledger), stack).run())


class Rounds:
    """The rounds of one run; ``finished`` of them are already in its ledger. ``stack`` ends what they start."""

    def __init__(
        self, plan: Plan, folder: str, ledger: Ledger, oracle: OracleClient, progress: Progress, finished: int,
        stack: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        self._oracle, self._stack = oracle, stack
        self._servers: Mapping[str, ForkServer] | None = None
        self._plan, self._folder, self._ledger, self._progress = plan, folder, ledger, progress
        self._round = finished
        self._schedule = Schedule(plan, ledger, finished)
        self._ceilings = RunCeilings(plan, ledger, lambda done: self._tell(done, "measuring what this machine can do"))
        self._strays = Strays()
        self._metered: set[str] = set()  # devices of which the energy is known
        self._seen = ""

    def run(self) -> Generator[None, None, Reason]:
        """Measure rounds until the plan is done, and give way after each; return why it ended."""
        while (reason := self._schedule.why_stop()) is None:
            began = time.monotonic()
            self._round = self._schedule.begin()
            self._oracle.draw(self._round)
            if self._servers is None:
                # They import while the oracle computes, on one processor.
                self._servers = fork_servers(self._plan, self._folder, self._stack)
            self._one_round()
            self._schedule.end(time.monotonic() - began)
            self._seen = self._said()
            with self._ledger.resting():
                yield
        self._ledger.write(RunEnd(reason=reason, rounds=self._round, seconds=round(self._ledger.elapsed(), 2)))
        return reason

    def _one_round(self) -> None:
        plan = self._plan
        began = time.monotonic()
        made = self._servers or {}
        members = [
            Member(plan, self._folder, self._ledger, self._oracle, self._round, target, copy, made.get(target.label))
            for target, copy in plan.members
        ]
        if plan.timed:
            random.Random(f"{plan.seed}.{self._round}").shuffle(members)
        try:
            if self._round == 1:
                # Import times are those of the first round. So workers that cannot be forked import one at a time, when
                # the oracle has ended.
                self._oracle.inputs()
            else:
                # From now on all start at once. First calls are not disturbed: each worker is paused when it is ready.
                self._tell(0.0, "starting workers")
                for member in members:
                    member.spawn()
                for member in members:
                    member.greet()
            for position, member in enumerate(members):
                self._tell(position / len(members) / 2, f"{'counting' if plan.count else 'preparing'} {member.target}")
                member.prepare()
            start_s = time.monotonic() - began
            if plan.timed and plan.ceilings and self._round == 1:
                self._ceilings.find(members)
            if plan.timed:
                names = plan.timed_operations(self._round)
                timed = {m.case(name): m.visit_s(name) for name in names for m in members if m.can_time(name)}
                found = self._schedule.shares(timed, start_s)
                if plan.energy:
                    idle = list(at_rest(self._round, plan.targets))
                    for power in idle:
                        self._ledger.write(power)
                    self._metered = {power.device for power in idle if power.watts is not None}
                self._time(names, members, found)
                self._ceilings.find_beaten(self._round, members)
        finally:
            for member in members:
                member.stop()
            self._strays.kill()

    def _time(self, names: Sequence[str], members: list[Member], shares: dict[Case, Share]) -> None:
        """Time all operations on all workers, a part of the passes of each in turn, and check them after the last."""
        passes = {name: found for name in names if (found := self._passes(name, members, shares))}
        self._strays.look()
        for part, (name, ours) in itertools.product(range(PARTS), passes.items()):
            self._tell(0.5 + part / PARTS / 2, f"timing {name}")
            began = time.monotonic()
            for one in ours[part * len(ours) // PARTS : (part + 1) * len(ours) // PARTS]:
                for place, member in enumerate(one.order):
                    if member.can_time(name) and one.number % shares[member.case(name)].stride == 0:
                        member.visit(name, one.number, place, one.cpu)
            self._schedule.visited(time.monotonic() - began)
            seen = self._strays.look()
            for member in members:
                member.used_below(name, seen.below)
            if seen.cores > BUSY:
                record = StrayRecord(round=self._round, operation=name, cores=digits(seen.cores, 3), names=seen.names)
                self._ledger.write(record)
            if part == PARTS - 1:
                self._check(name, members)

    def _passes(self, name: str, members: list[Member], shares: dict[Case, Share]) -> list[Pass]:
        """Return the passes of an operation, in balanced random order."""
        racing = [member for member in members if member.can_time(name)]
        count = max((shares[member.case(name)].passes for member in racing), default=0)
        # The order follows from seed, round and operation alone, so a resumed run has the order it would have had.
        rng = random.Random(f"{self._plan.seed}.{self._round}.{name}")
        if self._round == 1 or random.random() < EXAMINED:
            for member in racing:
                member.examine_in(name, random.randrange(0, count, shares[member.case(name)].stride))
        # All visits of a pass begin on the same processor, and passes go through the processors in turn.
        cpus = turns(self._plan.pinned_cpus or (None,), rng)
        return [Pass(*one) for one in zip(range(count), orders(racing, rng), cpus, strict=False)]

    def _check(self, name: str, members: list[Member]) -> None:
        """Have all outputs of an operation checked that was timed, and write its rows."""
        racing = [member for member in members if member.can_time(name)]
        shares_of_first = [member.share_of_first(name) for member in racing]
        for member, share in zip(racing, shares_of_first, strict=True):
            unseen = self._round == 1 and not member.was_examined(name)  # the worker that was examined is lost
            if unseen or share < (1 - LEAVES) * statistics.median(shares_of_first):
                member.examine(name)
            if member.can_time(name):
                member.hand_in(name)
        self._oracle.settle()
        for member in racing:
            if member.can_time(name):
                member.finish(name)
        for member in racing if name in self._plan.operations else ():
            if member.target.device in self._metered and member.can_time(name) and not member.copy:
                self._ledger.write(_energy_of(self._round, name, member))

    def _tell(self, share_of_round: float, text: str) -> None:
        self._progress(min(0.99, self._schedule.share(share_of_round)), f"round {self._round}: {text}{self._seen}")

    def _said(self) -> str:
        """Return the speeds so far of the last operation that has any, usually ``gan_iteration``, in one line."""
        seen = self._schedule.seen()
        last = next((case.operation for case in reversed(seen)), "")
        speeds = [f"{case.target} {one.value:.2f}" for case, one in seen.items() if case.operation == last]
        return f"\nso far, {last} relative to {self._plan.baseline}: {', '.join(speeds)}" if speeds else ""


def _energy_of(round_number: int, name: str, member: Member) -> EnergyRecord:
    """Return the energy of one iteration of a case, or why it is not known."""
    blank = EnergyRecord(round=round_number, operation=name, target=member.target.label)
    told = member.tell(protocol.Spend(name, member.number(name)), protocol.Spent)
    if not isinstance(told, protocol.Spent):
        return replace(blank, reason="its worker is lost" if told is None else told.reason)
    return replace(blank, **{name: digits(value) for name, value in asdict(told).items()})
