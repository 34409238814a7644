"""The oracle: it computes the right results, and checks the outputs that workers write to files.

It is a process of its own, ``python -m ganbench.measure.oracle``, which lives as long as the run. Its answers never
leave it.
"""

import contextlib
import itertools
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from ..array_ops import map_arrays
from ..errors import GanbenchError
from ..operation import Inputs, Operation
from ..operations import operation
from ..operations.fresh import FreshInputs
from ..results.records import Verification
from ..verification.answers import IMAGES, Answers, joined
from ..verification.choose_inputs import SEEDS
from ..verification.emulation import answer, answers_from, widening_answer, widening_answers
from ..verification.gate import GATED_ITERATIONS, UNVERIFIABLE, Shown, check_outputs, malformed
from .child import begin, decoded, encoded
from .plan import Plan
from .process import Child, WorkerLostError, child_environment
from .protocol import ModelJob

LATER = 1  # iteration is checked in later rounds: in the first, the same program has passed with all of them
SMALL = 2e9  # FLOP of an iteration: below this, more threads only disturb the processes that start at the same time
# Freed arrays are used again. By default glibc would give their memory back, and the system would clear new memory.
KEEPS_ARRAYS = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
# By operation: the seed and the hash of its inputs, and after how many iterations it is checked.
Drawn = dict[str, tuple[int, str, int]]
T = TypeVar("T")


class Asked(Generic[T]):
    """A request to the oracle; its ``reply``, of type ``kind``, is there when the oracle has settled."""

    reply: T

    def __init__(self, kind: type[T], files: Iterable[str] = ()) -> None:
        self.kind, self.files = kind, files


class Draw(msgspec.Struct, tag="draw", frozen=True):
    """Choose new inputs, from ``first_seed`` on, and compute ``operations`` after 1 and up to ``most`` iterations."""

    operations: tuple[str, ...]
    first_seed: int
    most: int


class Compare(msgspec.Struct, tag="compare", frozen=True):
    """Check outputs from the staged state; ``shown`` holds numbers of iterations and files."""

    operation: str
    shown: list[tuple[int, str]]


class Examine(msgspec.Struct, tag="examine", frozen=True):
    """Check what a visit that began with the inputs of ``seed`` left in ``files``.

    After ``carried`` iterations, after ``then`` more, and after ``path`` iterations from where it began.
    """

    operation: str
    seed: int
    carried: int
    then: int
    path: int
    files: tuple[str, str, str]


@dataclass
class Known:
    """What is known of an operation in a round; ``wider`` yields answers that allow more, if they are asked for."""

    made: Operation
    fresh: FreshInputs
    answers: Answers
    wider: Iterator[Answers]


class Oracle:
    """The answers of one round."""

    def __init__(self, job: ModelJob) -> None:
        self._job = job
        self._images = np.load(Path(job.folder) / IMAGES, allow_pickle=False)
        self._known: dict[str, Known] = {}

    def answer(self, request: Draw | Compare | Examine) -> Drawn | Verification:
        """Do what the parent asks."""
        if isinstance(request, Draw):
            return self._draw(request)
        try:
            if isinstance(request, Examine):
                return self._examine(request)
            return self._compare(self._known[request.operation], request)
        except Exception as error:  # a backend may leave anything in its files
            return Verification(0.0, False, [], f"its outputs cannot be read: {type(error).__name__}: {error}")

    def _draw(self, request: Draw) -> Drawn:
        job, drawn = self._job, {}
        for name in request.operations:
            made = operation(name, job.spec)
            if job.spec.batch >= made.minimum_batch:
                asked = made, job.dtype, job.precision, self._images, request.first_seed
                # Most programs keep the first answers to one iteration, which are the quickest to have.
                wider = widening_answer(*asked) if request.most == 1 else iter([answer(*asked, (1,), request.most)])
                found = next(wider)
                fresh = FreshInputs(made, made.inputs(found.seed, job.dtype, self._images))
                self._known[name] = Known(made, fresh, found, wider)
                drawn[name] = found.seed, found.digest, found.most
        return drawn

    def _compare(self, known: Known, request: Compare) -> Verification:
        if more := {count for count, _ in request.shown} - known.answers.after.keys():  # a call makes as many
            further = answers_from(known.made, known.fresh(0), self._job.dtype, self._job.precision, more)
            *_, widest = known.answers, *known.wider
            known.answers = joined((widest, further))
        shown = [(count, _read(file)) for count, file in request.shown]
        while not (found := self._checked(shown, known.made, known.answers)).passed:
            if (wider := next(known.wider, None)) is None:
                break
            known.answers = wider
        return found

    def _checked(self, shown: Iterable[Shown], made: Operation, answers: Answers) -> Verification:
        return check_outputs(shown, made, answers, self._job.dtype, self._job.precision)

    def _examine(self, request: Examine) -> Verification:
        known = self._known[request.operation]
        made, begun = known.made, known.fresh(request.seed)
        carried, later = request.carried, request.carried + request.then
        middle, end, followed = (_read(file) for file in request.files)
        if fault := malformed(middle, made.outputs(), self._job.dtype):
            return Verification(0.0, False, [], f"{fault} after {carried} iterations")
        # What a call without a state gave is checked itself. A state in the middle of a visit is right if it is like
        # one of a training, which its form says, and if the steps from it are right.
        if made.stateful:
            steps = [(begun, 0, request.path, followed), (_from(begun, middle, carried), carried, request.then, end)]
        else:
            calls = ((request.path, followed), (carried, middle), (later, end))
            steps = [(begun, number - 1, 1, outputs) for number, outputs in calls]
        for inputs, done, count, outputs in steps:
            turns = len(inputs.batches)
            inputs = inputs._replace(batches=[inputs.batches[(done + n) % turns] for n in range(turns)])
            for answers in widening_answers(made, inputs, self._job.dtype, self._job.precision, count):
                found = self._checked([(count, outputs)], made, answers)
                if found.passed:
                    break
            if not found.passed and not found.reason.startswith(UNVERIFIABLE):
                return replace(found, reason=f"{found.reason}, from iteration {done} of a visit on")
        return replace(found, reason="")


def _from(inputs: Inputs, outputs: list[np.ndarray], step: int) -> Inputs:
    """Return inputs whose state is that of ``outputs``, after ``step`` iterations."""
    numbers = iter(outputs)
    state = map_arrays(lambda _: next(numbers), inputs.state)
    return inputs._replace(state=state._replace(step=np.int32(step)) if hasattr(state, "step") else state)


def _read(file: str) -> list[np.ndarray]:
    arrays = []
    with Path(file).open("rb") as stream:
        while stream.peek(1):
            arrays.append(np.load(stream, allow_pickle=False))
    return arrays


class OracleClient(Child):
    """The parent's side of one run's oracle. Every method raises ``GanbenchError`` if the process has ended."""

    def __init__(self, plan: Plan, folder: str) -> None:
        job = ModelJob(spec=plan.spec, dtype=plan.dtype, precision=plan.precision, folder=folder, parent=os.getpid())
        self._plan = plan
        self._files = (str(Path(folder) / f"outputs-{number}") for number in itertools.count())
        self._asked: deque[Asked[Any]] = deque()  # in the order in which it answers
        self._drawn: Asked[Drawn] | None = None
        self._scans = False  # whether any program makes all iterations in one call
        self._inputs: Drawn = {}
        self._agreeing: dict[str, int] = {}
        threads = 1 if plan.spec.iteration_flops < SMALL else plan.threads
        super().__init__("ganbench.measure.oracle", job, child_environment(KEEPS_ARRAYS, threads), None)

    def draw(self, round_number: int) -> None:
        """Start to draw new inputs for a round; ``inputs`` waits for them."""
        most = GATED_ITERATIONS if not self._inputs or self._scans else LATER
        operations = self._plan.timed_operations(round_number)
        self._drawn = self._ask(Draw(operations, (round_number - 1) * SEEDS, most), Asked(Drawn))

    def inputs(self) -> Drawn:
        """Return what was drawn for this round. Operations that need a larger batch are not there."""
        if self._drawn is not None:
            self.settle()
            self._inputs, self._drawn = self._drawn.reply, None
            self._agreeing = {name: max(most, self.agreeing(name)) for name, (_, _, most) in self._inputs.items()}
        return self._inputs

    def agreeing(self, name: str) -> int:
        """Return after how many iterations of an operation correct programs still agree."""
        return self._agreeing.get(name, 1)

    def file(self) -> str:
        """Return a new path, to which a worker may write its outputs."""
        return next(self._files)

    def compare(self, name: str, iterations: int, shown: list[tuple[int, str]]) -> Asked[Verification]:
        """Have outputs checked after different numbers of iterations; a call makes ``iterations``."""
        self._scans |= iterations > 1
        return self._ask(Compare(name, shown), Asked(Verification, [file for _, file in shown]))

    def examine(self, request: Examine) -> Asked[Verification]:
        """Have what an examined visit left checked."""
        return self._ask(request, Asked(Verification, request.files))

    def settle(self) -> None:
        """Wait for every answer, remove the files that were asked about, and pause."""
        with _as_oracle():
            while self._asked:
                asked = self._asked.popleft()
                asked.reply = self.receive("check outputs", msgspec.json.Decoder(asked.kind))
                for file in asked.files:
                    Path(file).unlink(missing_ok=True)
        self.pause()  # or its threads would spin while others are timed

    def _ask(self, request: Draw | Compare | Examine, asked: Asked[T]) -> Asked[T]:
        with _as_oracle():
            self.resume()
            self.send(encoded(request))
        self._asked.append(asked)
        return asked


@contextlib.contextmanager
def _as_oracle() -> Iterator[None]:
    try:
        yield
    except WorkerLostError as error:
        raise GanbenchError(error.reason.replace("the worker", "the oracle")) from error


def main() -> None:
    job, send = begin(ModelJob)
    oracle = Oracle(job)
    for line in sys.stdin.buffer:
        send(oracle.answer(decoded(line, Draw | Compare | Examine)))


if __name__ == "__main__":
    main()
