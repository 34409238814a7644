"""The parent's side of the oracle: requests to it, and the files of the outputs that it checks."""

import itertools
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import GanbenchError
from ..results.records import Verification
from ..verification.choose_inputs import SEEDS
from ..verification.gate import GATED_ITERATIONS
from .oracle import Compare, Draw, Drawn, Examine, OracleJob
from .plan import Plan
from .process import Child, WorkerLostError, child_environment

LATER = 1  # iteration is checked in later rounds: in the first, the same program has passed with all of them
SMALL = 2e9  # FLOP of an iteration: below this, more threads only disturb the processes that start at the same time
# Freed arrays are used again. By default glibc would give their memory back, and the system would clear new memory.
KEEPS_ARRAYS = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
R = TypeVar("R", Drawn, Verification)


class OracleClient:
    """The oracle of one run. Every method raises ``GanbenchError`` if the process has ended."""

    def __init__(self, plan: Plan, folder: str) -> None:
        job = OracleJob(
            spec=plan.spec,
            operations=list(plan.timed_operations),
            dtype=plan.dtype,
            precision=plan.precision,
            folder=folder,
            parent=os.getpid(),
        )
        self._files = (str(Path(folder) / f"outputs-{number}") for number in itertools.count())
        threads = 1 if plan.spec.iteration_flops < SMALL else plan.threads
        self._child = Child("ganbench.measure.oracle", job, child_environment(KEEPS_ARRAYS, threads), None)
        self._drawing = False
        self._scans = False  # whether any program makes all iterations in one call
        self._inputs: dict[str, tuple[int, str, int]] = {}

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def draw(self, round_number: int) -> None:
        """Start to draw new inputs for a round; ``inputs`` waits for them."""
        self._drawing = True
        most = GATED_ITERATIONS if not self._inputs or self._scans else LATER
        self._say(Draw((round_number - 1) * SEEDS, most))

    def inputs(self) -> dict[str, tuple[int, str, int]]:
        """Return by operation, in this round: seed and hash of its inputs, and after how many iterations it is checked.

        Operations that need a larger batch are not there.
        """
        if self._drawing:
            self._inputs = self._hear(Drawn).inputs
            self._drawing = False
        return self._inputs

    def file(self) -> str:
        """Return a new path, to which a worker may write its outputs."""
        return next(self._files)

    def compare(self, name: str, iterations: int, shown: list[tuple[int, str]]) -> Verification:
        """Check outputs after different numbers of iterations; a call makes ``iterations``. The files are removed."""
        self._scans |= iterations > 1
        return self._ask(Compare(name, shown), [file for _, file in shown])

    def examine(self, name: str, carried: int, iterations: int, files: list[str]) -> Verification:
        """Check the state that ``Look`` wrote after ``carried`` iterations; the files are removed."""
        return self._ask(Examine(name, carried, iterations, files), files)

    def stop(self) -> None:
        """End it; may be called again."""
        self._child.stop()

    def _ask(self, request: Compare | Examine, files: list[str]) -> Verification:
        self._say(request)
        found = self._hear(Verification)
        for file in files:
            Path(file).unlink(missing_ok=True)
        return found

    def _say(self, request: Draw | Compare | Examine) -> None:
        try:
            self._child.resume()
            self._child.send(msgspec.json.encode(request))
        except WorkerLostError as error:
            raise self._failed(error) from error

    def _hear(self, kind: type[R]) -> R:
        try:
            reply = self._child.receive("check outputs", msgspec.json.Decoder(kind))
        except WorkerLostError as error:
            raise self._failed(error) from error
        self._child.pause()  # or its threads would spin while others are timed
        return reply

    def _failed(self, error: WorkerLostError) -> GanbenchError:
        return GanbenchError(error.reason.replace("the worker", "the oracle"))
