"""The process of the oracle: it computes the right results, and checks the outputs that workers write to files.

Its answers never leave it. It lives as long as the run, as ``python -m ganbench.measure.oracle``.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from ..array_ops import map_arrays
from ..gan import GANSpec
from ..operation import Inputs, Operation
from ..operations import operation
from ..results.records import Verification
from ..verification.answers import IMAGES, Answers
from ..verification.emulation import answer, answers_from
from ..verification.gate import Shown, check_outputs, malformed
from .child import ChildJob, begin


class OracleJob(ChildJob, frozen=True, kw_only=True):
    """Which operations of which model to answer; ``folder`` holds the images."""

    spec: GANSpec
    operations: list[str]
    dtype: str
    precision: str
    folder: str


class Draw(msgspec.Struct, tag="draw", frozen=True):
    """Choose new inputs, from ``first_seed`` on, and compute every operation after 1 and after ``most`` iterations."""

    first_seed: int
    most: int


class Drawn(msgspec.Struct, frozen=True):
    """By operation: the seed and the hash of its inputs, and after how many iterations it is checked."""

    inputs: dict[str, tuple[int, str, int]]


class Compare(msgspec.Struct, tag="compare", frozen=True):
    """Check outputs from the staged state; ``shown`` holds numbers of iterations and files."""

    operation: str
    shown: list[tuple[int, str]]


class Examine(msgspec.Struct, tag="examine", frozen=True):
    """Check the state after ``carried`` iterations: the oracle makes the next call's ``iterations`` from there, too."""

    operation: str
    carried: int
    iterations: int
    files: list[str]


class Oracle:
    """The answers of one round."""

    def __init__(self, job: OracleJob) -> None:
        self._job = job
        self._images = np.load(Path(job.folder) / IMAGES, allow_pickle=False)
        self._known: dict[str, tuple[Operation, Inputs, Answers]] = {}

    def answer(self, request: Draw | Compare | Examine) -> Drawn | Verification:
        """Do what the parent asks."""
        if isinstance(request, Draw):
            return Drawn(self._draw(request))
        try:
            return self._examine(request) if isinstance(request, Examine) else self._compare(request)
        except Exception as error:  # a backend may leave anything in its files
            return Verification(0.0, False, [], f"its outputs cannot be read: {type(error).__name__}: {error}")

    def _draw(self, request: Draw) -> dict[str, tuple[int, str, int]]:
        job, drawn = self._job, {}
        for name in job.operations:
            made = operation(name, job.spec)
            if job.spec.batch >= made.minimum_batch:
                counts = {1, request.most}
                found = answer(made, job.dtype, job.precision, self._images, request.first_seed, counts)
                self._known[name] = made, made.inputs(found.seed, job.dtype, self._images), found
                drawn[name] = found.seed, found.digest, found.most
        return drawn

    def _compare(self, request: Compare) -> Verification:
        made, _, answers = self._known[request.operation]
        return self._checked(((count, _read(file)) for count, file in request.shown), made, answers)

    def _checked(self, shown: Iterable[Shown], made: Operation, answers: Answers) -> Verification:
        return check_outputs(shown, made, answers, self._job.dtype, self._job.precision)

    def _examine(self, request: Examine) -> Verification:
        job = self._job
        made, inputs, _ = self._known[request.operation]
        before, *after = (_read(file) for file in request.files)
        if fault := malformed(before, made.outputs(), job.dtype):
            return Verification(0.0, False, [], f"{fault} after {request.carried} iterations")
        # A state is right if the next step from it is right. Outputs without a state are checked themselves.
        carried, count = (request.carried, request.iterations) if after else (request.carried - 1, 1)
        start = _from(inputs, before, carried) if after else inputs
        batches = [start.batches[(carried + n) % len(start.batches)] for n in range(len(start.batches))]
        answers = answers_from(made, start._replace(batches=batches), job.dtype, job.precision, (count,))
        return self._checked([(count, after[0] if after else before)], made, answers)


def _from(inputs: Inputs, outputs: list[np.ndarray], step: int) -> Inputs:
    """Return inputs whose state is that of ``outputs``, after ``step`` iterations."""
    numbers = iter(outputs)
    return inputs._replace(state=map_arrays(lambda _: next(numbers), inputs.state)._replace(step=np.int32(step)))


def _read(file: str) -> list[np.ndarray]:
    arrays = []
    with Path(file).open("rb") as stream:
        while stream.peek(1):
            arrays.append(np.load(stream, allow_pickle=False))
    return arrays


def main() -> None:
    job, send = begin(OracleJob)
    oracle = Oracle(job)
    decoder = msgspec.json.Decoder(Draw | Compare | Examine)
    for line in sys.stdin.buffer:
        send(oracle.answer(decoder.decode(line)))


if __name__ == "__main__":
    main()
