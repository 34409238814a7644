"""The emulation: how far correct programs may be off in a format. The oracle runs again with their rounding errors.

If factors of a product have 8 or 11 bits, a few ReLUs flip to the other side of their kink, and Adam's first step,
nearly lr · sign(g), changes its sign where noise is larger than the gradient. In some models the noise of float32 does
the same. The effect differs from model to model, so no constant tolerance is right, and it is computed for each model.
docs/decisions/0007-precision.md and 0009-tolerance.md have the measurements.
"""

import itertools
from collections.abc import Collection, Iterator
from functools import partial

import numpy as np

from ..operation import Inputs, ModelOperation, Operation
from ..operations.rounding import cut, rounded
from ..precision import name_of
from .answers import Answers
from .choose_inputs import collected, draw, outcomes
from .gate import GATED_ITERATIONS, group_errors
from .honest import Emulation, KinkOracle, RecordingOracle, RoundingOracle
from .reference import Reference

DOUBT = 3  # times its typical error, enlarged already, a unit may be off
SAMPLES = 4  # of rounding errors, where the numbers are ...
FEW = 50000  # parameters or less: one sample of so few errors may happen to be small
STRAYED = 0.1  # of itself, with errors enlarged so


def _otherwise(
    exact: RecordingOracle, honest: RoundingOracle | None, operation: Operation, inputs: Inputs, dtype: str,
    precision: str, counts: Collection[int],
) -> Iterator[dict[int, list[np.ndarray]]]:  # fmt: skip
    """Yield the outputs of other correct ways to compute in a format: hardware, compilers and libraries differ.

    All doubtful ReLUs may be on one side. Tensor cores may truncate TF32 factors instead of rounding them. A fused
    kernel may pass on float32 in place of halves.
    """
    name = name_of(dtype, precision)
    if honest is not None:
        errors = (np.square(seen - true).mean(axis=0) for seen, true in zip(honest.seen, exact.seen, strict=True))
        doubt = [DOUBT * np.sqrt(error) for error in errors]
        for side in (1, -1) if doubt or honest.reaches else ():
            yield collected(KinkOracle(doubt, honest.reaches, side), operation, inputs, counts)
        if isinstance(operation, ModelOperation) and operation.stateful and operation.spec.n_params < FEW:
            for number in range(1, SAMPLES):
                yield collected(RoundingOracle(dtype, exact, number), operation, inputs, counts)
    elif precision == "tf32":
        for rounding in (rounded, cut):
            yield collected(Emulation(partial(rounding, name=name), stores=False), operation, inputs, counts)
    else:
        for stores in (True, False):
            yield collected(Emulation(partial(rounded, name=name), stores), operation, inputs, counts)


def answer(
    operation: Operation,
    dtype: str,
    precision: str,
    images: np.ndarray,
    first_seed: int = 0,
    counts: Collection[int] = (1, GATED_ITERATIONS),
) -> Answers:
    """Return the oracle's answers after ``counts`` iterations on inputs that ``draw`` has chosen.

    If correct programs differ too much after ``counts`` iterations, fewer are compared.
    """
    if precision == "ieee":
        seed, inputs = draw(operation, dtype, images, first_seed)
    else:  # no seed keeps clear of every kink here
        seed, inputs = first_seed, operation.inputs(first_seed, dtype, images)
    found = answers_from(operation, inputs, dtype, precision, counts)
    if precision == "ieee" and found.most > 1 and _strayed(found, found.most):
        halves = [found.most >> times for times in range(1, found.most.bit_length())]
        fewer = answers_from(operation, inputs, dtype, precision, halves)
        found = Answers(
            0,
            "",
            next(count for count in halves if count == 1 or not _strayed(fewer, count)),
            found.after | fewer.after,
            found.deviations | fewer.deviations,
            found.changes | fewer.changes,
            found.allowed | fewer.allowed,
        )
    return found._replace(seed=seed, digest=inputs.digest())


def _strayed(answers: Answers, count: int) -> bool:
    return any(error > STRAYED for (_, after), error in answers.deviations.items() if after == count)


def answers_from(operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]) -> Answers:
    """Return the oracle's answers after ``counts`` iterations from ``inputs``, and the errors of correct programs."""
    exact = RecordingOracle(dtype if precision == "ieee" else "float32")
    after = collected(exact, operation, inputs, counts)
    honest, allowed, emulated = None, dict[int, dict[int, np.ndarray]](), dict[int, list[np.ndarray]]()
    if precision == "ieee":
        honest = RoundingOracle(dtype, exact)
        for count, outcome in outcomes(honest, operation, inputs, counts):
            emulated[count] = [honest.to_numpy(array) for array in outcome]
            found = enumerate(map(honest.allowed, outcome))
            allowed[count] = {place: array for place, array in found if array is not None}
    deviations: dict[tuple[str, int], float] = {}
    others = _otherwise(exact, honest, operation, inputs, dtype, precision, counts)
    for outputs in itertools.chain([emulated] if emulated else [], others):
        for count in counts:
            expected = operation.outputs()
            for entry in group_errors(outputs[count], after[count], expected, count, allowed.get(count, {})):
                key = entry.group, count
                deviations[key] = max(entry.error, deviations.get(key, 0.0))
    return Answers(0, "", max(counts), after, deviations, _changes(operation, inputs, after), allowed)


def _changes(operation: Operation, inputs: Inputs, after: dict[int, list[np.ndarray]]) -> dict[tuple[str, int], float]:
    """Return the relative change of each group since the start; 1 if it started from zero."""
    if not operation.stateful:
        return {}
    start = [Reference().from_numpy(array) for array in operation.collect(inputs.state, ())]
    outputs = operation.outputs()[: len(start)]
    return {
        (entry.group, count): entry.error
        for count, answers in after.items()
        for entry in group_errors(start, answers[: len(start)], outputs, count)
    }
