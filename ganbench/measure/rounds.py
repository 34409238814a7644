"""Rounds of fresh workers: start, prepare, verify, warm up, then visit them in turns.

In each round every target has a process of its own, and the baseline a second one as a permanent A/A
control. Visits go from worker to worker, so that whatever slows the machine slows all of them;
workers whose turn it is not are stopped, because their threads would spin beside the one that is timed.
"""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Literal

import msgspec
import numpy as np

from ..data import load_images, staged_images
from ..errors import GanbenchError, StorageError
from ..machine.environment import can_pin
from ..machine.workspace import workspace
from ..operations.products import FLOOR
from ..registry import Target
from ..results.records import Ceiling, CeilingRecord, Line, Record, RunEnd
from ..results.statistics import (
    MIN_ROUNDS,
    Components,
    Visits,
    components,
    half_width,
    paired_speed,
    pass_logs,
    shared_rounds,
)
from ..verification.answers import IMAGES
from .bandwidth import measure_bandwidth
from .kept import keep_ceilings, now, recall_ceilings
from .member import Ledger, Member, templates
from .oracle import OracleJob
from .passes import LEAST, Cost, Share, orders, shares, turns, worth
from .past import recall
from .plan import Case, Plan
from .process import child_environment
from .template import Template

Progress = Callable[[float, str], None]  # (share done, what is being done)
Reason = Literal["complete", "precision", "budget"]  # why no further round is due
LATER = 0.35  # what starting a later round takes of the first one's time: it imports and compiles nothing
CHECKS = 0.15  # what the gate takes after the visits, of the time to start; either is only a guess, for the first round
OVERRUN = 1.05
ROUNDS_TO_LEARN = 2  # before the variance components of a run say how many visits a case gets


def stage(plan: Plan) -> np.ndarray:
    """Return the real images of every staged batch; raises ``DataError`` for input that does not fit."""
    return staged_images(load_images(plan.spec, plan.data), plan.spec, plan.seed)


def run_rounds(
    plan: Plan, images: np.ndarray, write: Callable[[Record], None], progress: Progress, before: Sequence[Line] = ()
) -> Reason:
    """Carry out ``plan``, writing each record as it is known; return why it ended.

    ``before`` holds the records of a run that goes on: its finished rounds count.

    Raises ``GanbenchError`` where the oracle fails. On KeyboardInterrupt every process is gone before it
    is passed on.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(workspace())
            np.save(Path(folder) / IMAGES, images)
        except OSError as error:
            raise StorageError(
                f"cannot write temporary files: {error.strerror}; set TMPDIR to a folder with room"
            ) from error
        progress(0.0, "computing the reference results")
        ledger = Ledger(write)
        made = templates(plan, folder, stack)
        ask_oracle(plan, folder)
        finished = recall(ledger, plan, before)
        return Rounds(plan, folder, ledger, progress, finished, made).run()


def ask_oracle(plan: Plan, folder: str) -> None:
    """Run the oracle in a process of its own; it leaves its answers in ``folder``."""
    job = OracleJob(
        spec=plan.spec,
        operations=list(plan.timed_operations),
        dtype=plan.dtype,
        precision=plan.precision,
        folder=folder,
        parent=os.getpid(),
    )
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
    if oracle.returncode == -9:  # SIGKILL, a name that Windows lacks
        raise GanbenchError("the oracle was killed (SIGKILL), most likely because memory ran out")
    if oracle.returncode:
        said = errors.decode(errors="replace").strip().splitlines()
        raise GanbenchError(f"the oracle ended with exit code {oracle.returncode}: {said[-1] if said else ''}")


class Rounds:
    """The rounds of one run; ``finished`` of them are already in its ledger."""

    def __init__(
        self, plan: Plan, folder: str, ledger: Ledger, progress: Progress, finished: int, made: Mapping[str, Template]
    ) -> None:
        self._templates = made
        self._plan, self._folder, self._ledger, self._progress = plan, folder, ledger, progress
        self._round = finished
        self._share = 0.0  # of the run that is done
        self._visited_s = self._least_s = 0.0  # what the last round's visits took, and what the fewest would have taken
        self._fixed_s = 0.0  # what a round takes besides

    def run(self) -> Reason:
        """Measure rounds until the plan is fulfilled; return ``complete``, ``precision`` or ``budget``."""
        self._fixed_s = self._ledger.elapsed() / self._round if self._round else 0.0
        reason = self._why_stop() if self._round else None
        while reason is None:
            began = time.monotonic()
            self._round += 1
            self._visited_s = self._least_s = 0.0
            self._one_round()
            self._fixed_s = (time.monotonic() - began - self._visited_s) * (LATER if self._round == 1 else 1)
            reason = self._why_stop()
            rounds, elapsed = self._plan.rigor.rounds, self._ledger.elapsed()
            self._share = self._round / rounds if rounds else elapsed / self._plan.rigor.budget_s
        self._ledger.write(RunEnd(reason=reason, rounds=self._round, seconds=round(self._ledger.elapsed(), 2)))
        return reason

    def _why_stop(self) -> Reason | None:
        """Return why no further round is due; None if one is. Significance is never a reason."""
        rigor = self._plan.rigor
        if not self._plan.timed or not set(self._plan.cases) - self._ledger.failed:
            return "complete"
        if rigor.rounds:
            return "complete" if self._round >= rigor.rounds else None
        few = self._round < MIN_ROUNDS  # these decide nothing, so the last of them may overrun a little
        visits_s, budget_s = (self._least_s, OVERRUN * rigor.budget_s) if few else (self._visited_s, rigor.budget_s)
        if self._ledger.elapsed() + self._fixed_s + visits_s > budget_s:
            return "budget"
        widest = max((self._half_width(case) for case in self._compared), default=0.0)
        return "precision" if self._round >= MIN_ROUNDS and widest <= rigor.goal else None

    @property
    def _compared(self) -> list[Case]:
        """Every case that has a ratio to the baseline."""
        cases = set(self._plan.cases) - self._ledger.failed
        return [case for case in cases if case.copy or case.target.label != self._plan.baseline]

    def _paired(self, case: Case) -> list[tuple[Visits, Visits]]:
        """Return the baseline's visits and those of ``case`` for every round that has both."""
        baseline = next(target for target in self._plan.targets if target.label == self._plan.baseline)
        against = self._ledger.visits.get(Case(case.operation, baseline), {})
        visits = self._ledger.visits.get(case, {})
        return [(against[i], visits[i]) for i in shared_rounds(against, visits)]

    def _half_width(self, case: Case) -> float:
        """Return the half-width of a case's ratio so far; 0 where there is none."""
        paired = self._paired(case)
        return half_width(paired_speed(*zip(*paired, strict=True))) if paired else 0.0

    def _one_round(self) -> None:
        plan = self._plan
        began = time.monotonic()
        # Imports are reported from the first round, whose workers make them, one at a time.
        made = self._templates if self._round > 1 else {}
        members = [
            Member(plan, self._folder, self._ledger, self._round, target, copy, made.get(target.label))
            for target, copy in plan.members
        ]
        if plan.timed:
            random.Random(f"{plan.seed}.{self._round}").shuffle(members)
        try:
            if self._round > 1:
                # From now on all start at once; first calls stay undisturbed, because whoever is ready is paused.
                self._tell(0.0, "starting workers")
                for member in members:
                    member.spawn()
                for member in members:
                    member.greet()
            for position, member in enumerate(members):
                self._tell(position / len(members) / 2, f"preparing {member.target}")
                member.prepare()
            start_s = time.monotonic() - began
            if plan.timed and plan.ceilings and self._round == 1:
                self._find_ceilings(members)
            if plan.timed:
                names = plan.timed_operations
                found = self._shares(members, start_s)
                for position, name in enumerate(names):
                    self._tell(0.5 + position / len(names) / 2, f"timing {name}")
                    self._time(name, members, found)
        finally:
            for member in members:
                member.stop()

    def _find_ceilings(self, members: list[Member]) -> None:
        """Write down what this machine can do at best, as it was kept, or measured now."""
        plan = self._plan
        if any(target.device == "cpu" for target in plan.targets):
            self._ceiling(None, "host", "cpu", lambda: measure_bandwidth(plan.cpus if can_pin() else (), plan.threads))
        for member in members:
            if plan.speaks_for_library(member.target, member.copy):
                self._ceiling(member.target, member.target.backend, member.target.device, member.find_ceilings)

    def _ceiling(self, target: Target | None, library: str, device: str, measure: Callable[[], list[Ceiling]]) -> None:
        record = None if self._plan.fresh_ceilings else recall_ceilings(self._plan, target)
        if record is None:
            self._tell(0.5, "measuring what this machine can do")
            record = CeilingRecord(library=library, device=device, found=measure(), measured=now())
            if record.found:
                keep_ceilings(self._plan, target, record)
        self._ledger.write(record)

    def _shares(self, members: list[Member], start_s: float) -> dict[Case, Share]:
        """Return how often each case of this round, which took ``start_s`` to start, is visited."""
        rigor, names = self._plan.rigor, self._plan.timed_operations
        timed = {m.case(name): m.visit_s(name) for name in names for m in members if m.can_time(name)}
        costs = {case: Cost(visit_s, start_s / len(timed)) for case, visit_s in timed.items()}
        # The floor is compared with nothing: it says how large a share of an iteration its products are.
        floor = set() if FLOOR in self._plan.operations else {FLOOR}
        wanted = {case: LEAST if case.operation in floor else rigor.case_s / one for case, one in timed.items()}
        noise = self._noise() if self._round > ROUNDS_TO_LEARN else {}
        if noise:
            # Of so few rounds one case's variance between them is hardly known; the mean over all cases is.
            between = fmean(found.between for found in noise.values())
            for case in noise.keys() & wanted.keys():
                done = self._half_width(case) <= rigor.goal
                wanted[case] = LEAST if done else worth(costs[case], Components(noise[case].within, between))
        # A baseline, and its copy beside it, as often as any target needs them.
        for case in wanted:
            if case.target.label == self._plan.baseline:
                wanted[case] = max(n for other, n in wanted.items() if other.operation == case.operation)
        self._least_s = LEAST * sum(timed.values())
        return shares(wanted, costs, lambda case: case.operation, self._room(start_s))

    def _noise(self) -> dict[Case, Components]:
        """Return the variance components of every ratio so far."""
        logs = {case: [pass_logs(b, t) for b, t in self._paired(case)] for case in self._compared}
        return {case: components(found) for case, found in logs.items() if len(found) > 1 and all(found)}

    def _room(self, start_s: float) -> float:
        """Return the seconds that visits may take now, so that as many rounds fit as an interval needs."""
        rigor, left = self._plan.rigor, MIN_ROUNDS - self._round
        if rigor.rounds or left < 0:
            return inf
        checks_s = start_s * CHECKS
        later_s = LATER * (start_s + checks_s) if self._round == 1 else self._fixed_s
        return (rigor.budget_s - self._ledger.elapsed() - checks_s - left * later_s) / (left + 1)

    def _time(self, name: str, members: list[Member], shares: dict[Case, Share]) -> None:
        """Time one operation on all workers, visit by visit in balanced random order."""
        began = time.monotonic()
        racing = [member for member in members if member.can_time(name)]
        passes = max((shares[member.case(name)].passes for member in racing), default=0)
        # Of seed, round and operation alone: a run that was interrupted goes on in the order it would have had.
        rng = random.Random(f"{self._plan.seed}.{self._round}.{name}")
        # All visits of a pass begin on the same processor, and passes go through the processors in turn.
        cpus = turns(self._plan.cpus if can_pin() else (None,), rng)
        for number, order, cpu in zip(range(passes), orders(racing, rng), cpus, strict=False):
            for place, member in enumerate(order):
                if member.can_time(name) and number % shares[member.case(name)].stride == 0:
                    member.visit(name, number, place, cpu)
        self._visited_s += time.monotonic() - began
        for member in racing:
            if member.can_time(name):
                member.finish(name)

    def _tell(self, share_of_round: float, text: str) -> None:
        rigor = self._plan.rigor
        rounds = rigor.rounds or max(MIN_ROUNDS, self._round)
        self._progress(min(0.99, self._share + share_of_round / rounds), f"round {self._round}: {text}")
