"""Rounds of fresh workers: start, prepare, verify, warm up, then time short blocks in turns.

In each round every target has a process of its own, and the baseline a second one as a permanent A/A
control. Blocks are interleaved across the workers, so that whatever slows the machine slows all of them;
workers whose turn it is not are stopped, because their threads would spin beside the one that is timed.
"""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ..data import load_images, staged_images
from ..errors import GanbenchError, StorageError
from ..machine.environment import can_pin
from ..machine.workspace import workspace
from ..results.records import CeilingRecord, Line, Record, RunEnd
from ..results.statistics import MIN_ROUNDS, half_width, paired_speed
from ..verification.answers import IMAGES
from .bandwidth import measure_bandwidth
from .member import Ledger, Member
from .oracle import OracleJob
from .past import recall
from .plan import Case, Plan
from .process import child_environment

Progress = Callable[[float, str], None]  # (share done, what is being done)
Reason = Literal["complete", "precision", "budget"]  # why no further round is due


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
        ask_oracle(plan, folder)
        ledger = Ledger(write)
        finished = recall(ledger, plan, before)
        return Rounds(plan, folder, ledger, progress, finished).run()


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

    def __init__(self, plan: Plan, folder: str, ledger: Ledger, progress: Progress, finished: int = 0) -> None:
        self._plan, self._folder, self._ledger, self._progress = plan, folder, ledger, progress
        self._round = finished
        self._share = 0.0  # of the run that is done

    def run(self) -> Reason:
        """Measure rounds until the plan is fulfilled; return ``complete``, ``precision`` or ``budget``."""
        elapsed = self._ledger.elapsed()
        longest = elapsed / self._round if self._round else 0.0
        reason = self._why_stop(elapsed, longest) if self._round else None
        while reason is None:
            began = time.monotonic()
            self._round += 1
            self._one_round()
            # Later rounds are shorter than the first, so its length is forgotten by and by.
            longest = max(0.8 * longest, time.monotonic() - began)
            elapsed = self._ledger.elapsed()
            reason = self._why_stop(elapsed, longest)
            rounds = self._plan.rigor.rounds
            self._share = self._round / rounds if rounds else elapsed / self._plan.rigor.budget_s
        self._ledger.write(RunEnd(reason=reason, rounds=self._round, seconds=elapsed))
        return reason

    def _why_stop(self, elapsed: float, longest: float) -> Reason | None:
        """Return why no further round is due; None if one is. Significance is never a reason."""
        rigor = self._plan.rigor
        if not self._plan.timed or not set(self._plan.cases) - self._ledger.failed:
            return "complete"
        if rigor.rounds:
            return "complete" if self._round >= rigor.rounds else None
        if elapsed + longest > rigor.budget_s:
            return "budget"
        return "precision" if self._round >= MIN_ROUNDS and self._widest() <= rigor.goal else None

    def _widest(self) -> float:
        """Return the largest half-width of any ratio to the baseline so far."""
        baseline = next(target for target in self._plan.targets if target.label == self._plan.baseline)
        widths = [0.0]
        for case in set(self._plan.cases) - self._ledger.failed:
            against = self._ledger.blocks.get(Case(case.operation, baseline), {})
            blocks = self._ledger.blocks.get(case, {})
            shared = against.keys() & blocks.keys()
            if shared and (case.target != baseline or case.copy):
                widths.append(half_width(paired_speed([against[i] for i in shared], [blocks[i] for i in shared])))
        return max(widths)

    def _one_round(self) -> None:
        plan = self._plan
        # Of seed and round alone, so that a run that was interrupted goes on in the order it would have had.
        self._random = random.Random(f"{plan.seed}.{self._round}")
        members = [Member(plan, self._folder, self._ledger, self._round, target, copy) for target, copy in plan.members]
        if plan.timed:
            self._random.shuffle(members)
        try:
            if self._round > 1:
                # Imports are reported from the first round, where workers start one at a time. From now on
                # all import at once; first calls stay undisturbed, because whoever is ready is paused.
                self._tell(0.0, "starting workers")
                for member in members:
                    member.spawn()
                for member in members:
                    member.greet()
            for position, member in enumerate(members):
                self._tell(position / len(members) / 2, f"preparing {member.target}")
                member.prepare()
            if plan.timed and plan.ceilings and self._round == 1:
                self._tell(0.5, "measuring what this machine can do")
                self._measure_ceilings(members)
            if plan.timed:
                names = plan.timed_operations
                for position, name in enumerate(names):
                    self._tell(0.5 + position / len(names) / 2, f"timing {name}")
                    self._time(name, members)
        finally:
            for member in members:
                member.stop()

    def _measure_ceilings(self, members: list[Member]) -> None:
        plan = self._plan
        if any(target.device == "cpu" for target in plan.targets):
            found = measure_bandwidth(plan.cpus if can_pin() else (), plan.threads)
            self._ledger.write(CeilingRecord(library="host", device="cpu", found=found))
        for member in members:
            if plan.speaks_for_library(member.target, member.copy):
                member.measure_ceilings()

    def _time(self, name: str, members: list[Member]) -> None:
        """Time one operation on all workers, block by block in balanced random order."""
        racing = [member for member in members if member.can_time(name)]
        for order in balanced_orders(racing, self._plan.rigor.passes, self._random):
            for place, member in enumerate(order):
                if member.can_time(name):
                    member.time_block(name, place)
        for member in racing:
            if member.can_time(name):
                member.finish(name)

    def _tell(self, share_of_round: float, text: str) -> None:
        rigor = self._plan.rigor
        rounds = rigor.rounds or max(MIN_ROUNDS, self._round)
        self._progress(min(0.99, self._share + share_of_round / rounds), f"round {self._round}: {text}")


def balanced_orders(members: list[Member], passes: int, rng: random.Random) -> Iterator[list[Member]]:
    """Yield one order per pass: rows of random cyclic Latin squares, so that every place is shared evenly."""
    for index in range(passes):
        turn = index % max(1, len(members))
        if turn == 0:
            square = rng.sample(members, len(members))
        yield square[turn:] + square[:turn]
