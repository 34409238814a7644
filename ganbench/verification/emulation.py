"""The emulation: how far correct programs may be off in a format. The oracle runs again with their rounding errors.

If factors of a product have 8 or 11 bits, a few ReLUs flip to the other side of their kink, and Adam's first step,
nearly lr · sign(g), changes its sign where noise is larger than the gradient. In some models the noise of float32 does
the same. The effect differs from model to model, so no constant tolerance is right, and it is computed for each model.
docs/decisions/0007-precision.md and 0009-tolerance.md have the measurements.
"""

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..operation import Inputs, ModelOperation, Operation
from ..operations.rounding import cut, rounded
from ..precision import name_of
from .answers import Answers, joined
from .choose_inputs import draw, outcomes
from .gate import GATED_ITERATIONS, group_errors
from .honest import Emulation, KinkOracle, RecordingOracle, RoundingOracle
from .reference import Reference

DOUBT = 3  # times its typical error, enlarged already, a unit may be off
SAMPLES = 4  # of rounding errors, where the numbers are ...
FEW = 50000  # parameters or less: one sample of so few errors may happen to be small
STRAYED = 0.1  # of itself, with errors enlarged so


def _others(
    exact: RecordingOracle, honest: RoundingOracle | None, operation: Operation, dtype: str, precision: str
) -> Iterator[Reference]:
    """Yield other correct ways to compute in a format: hardware, compilers and libraries differ.

    All doubtful ReLUs may be on one side. Tensor cores may truncate TF32 factors instead of rounding them. A fused
    kernel may pass on float32 in place of halves.
    """
    name = name_of(dtype, precision)
    if honest is not None:
        for side in (1, -1) if honest.seen or honest.reaches else ():
            yield KinkOracle(_doubts(exact, honest), honest.reaches, side)
        if isinstance(operation, ModelOperation) and operation.stateful and operation.spec.n_params < FEW:
            for number in range(1, SAMPLES):
                yield RoundingOracle(dtype, exact, number)
    elif precision == "tf32":
        for rounding in (rounded, cut):
            yield Emulation(partial(rounding, name=name), stores=False)
    else:
        for stores in (True, False):
            yield Emulation(partial(rounded, name=name), stores)


def _doubts(exact: RecordingOracle, honest: RoundingOracle) -> Iterator[np.ndarray]:
    """Yield, ReLU by ReLU, by how much each unit may be off; more follow as the two oracles go on."""
    for seen, true in zip(honest.seen, exact.seen, strict=False):
        yield DOUBT * np.sqrt(np.square(seen - true).mean(axis=0))


def answer(
    operation: Operation,
    dtype: str,
    precision: str,
    images: np.ndarray,
    first_seed: int = 0,
    counts: Collection[int] = (1, GATED_ITERATIONS),
    most: int = 1,
) -> Answers:
    """Return the oracle's answers after ``counts`` and ``most`` iterations on inputs that ``draw`` has chosen.

    If correct programs differ too much after so many, fewer are compared, and of ``most`` there is no answer then.
    """
    seed, inputs = _drawn(operation, dtype, precision, images, first_seed)
    most = max(most, *counts)
    may_stray = precision == "ieee" and operation.stateful
    looks = {*counts, *(most >> times for times in range(most.bit_length() if may_stray else 1))}
    found, agreeing, strayed = dict[int, Answers](), 1, False
    for count, widening in _course(operation, inputs, dtype, precision, looks):
        *_, found[count] = widening
        strayed |= may_stray and count > 1 and any(error > STRAYED for error in found[count].deviations.values())
        if not strayed:  # what lies between is not needed any more
            agreeing, found = count, {done: one for done, one in found.items() if done in {*counts, count}}
        elif count >= max(counts):
            break
    return joined(found.values())._replace(seed=seed, digest=inputs.digest(), most=agreeing)


def widening_answer(
    operation: Operation, dtype: str, precision: str, images: np.ndarray, first_seed: int
) -> Iterator[Answers]:
    """Yield what ``answer`` returns after one iteration as it is known, as ``widening_answers`` does."""
    seed, inputs = _drawn(operation, dtype, precision, images, first_seed)
    for found in widening_answers(operation, inputs, dtype, precision, 1):
        yield found._replace(seed=seed, digest=inputs.digest(), most=1)


def _drawn(operation: Operation, dtype: str, precision: str, images: np.ndarray, first_seed: int) -> tuple[int, Inputs]:
    if precision == "ieee":
        return draw(operation, dtype, images, first_seed)
    return first_seed, operation.inputs(first_seed, dtype, images)  # no seed keeps clear of every kink here


def answers_from(operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]) -> Answers:
    """Return the oracle's answers after ``counts`` iterations from ``inputs``, and the errors of correct programs."""
    found = joined([*widening][-1] for _, widening in _course(operation, inputs, dtype, precision, counts))
    return found._replace(most=max(counts))


def widening_answers(operation: Operation, inputs: Inputs, dtype: str, precision: str, count: int) -> Iterator[Answers]:
    """Yield the answers after ``count`` iterations as they are known: first without any error of correct programs.

    Each allows more than the one before, and the last is that of ``answers_from``. Most programs keep the first or
    the second, which take a fifth and half of its time.
    """
    ((_, widening),) = _course(operation, inputs, dtype, precision, (count,))
    return widening


def _course(
    operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]
) -> Iterator[tuple[int, Iterator[Answers]]]:
    """Yield each of ``counts`` iterations with the answers after them, again with each way to compute that is known.

    All oracles go on together, so that nothing is computed if nobody asks for more; all answers after a number of
    iterations must be taken before those after the next.
    """

    def course(oracle: Reference) -> Iterator[list[Any]]:
        return (outcome for _, outcome in outcomes(oracle, operation, inputs, counts))

    exact = RecordingOracle(dtype if precision == "ieee" else "float32")
    honest = RoundingOracle(dtype, exact) if precision == "ieee" else None
    off = course(honest) if honest else iter(())
    others: list[tuple[Reference, Iterator[list[Any]]]] = []

    def widening(count: int, outcome: list[Any]) -> Iterator[Answers]:
        after = [*map(exact.to_numpy, outcome)]
        found = Answers(0, "", count, {count: after}, {}, _changes(operation, inputs, count, after))
        yield found
        if honest:
            outcome = next(off)
            allowed = enumerate(map(honest.allowed, outcome))
            found = found._replace(allowed={count: {place: array for place, array in allowed if array is not None}})
            found = _widened(found, operation, count, [*map(honest.to_numpy, outcome)])
            yield found
        if not others:
            others.extend((one, course(one)) for one in _others(exact, honest, operation, dtype, precision))
        for one, run in others:
            found = _widened(found, operation, count, [*map(one.to_numpy, next(run))])
            yield found

    for count, outcome in zip(sorted(counts), course(exact), strict=True):
        yield count, widening(count, outcome)


def _widened(answers: Answers, operation: Operation, count: int, outputs: list[np.ndarray]) -> Answers:
    """Return ``answers`` with the errors of one more correct way to compute."""
    after, allowed = answers.after[count], answers.allowed.get(count, {})
    errors = group_errors(outputs, after, operation.outputs(), count, allowed)
    found = {(entry.group, count): entry.error for entry in errors}
    known = answers.deviations
    return answers._replace(deviations={key: max(error, known.get(key, 0.0)) for key, error in found.items()})


def _changes(operation: Operation, inputs: Inputs, count: int, after: list[np.ndarray]) -> dict[tuple[str, int], float]:
    """Return the relative change of each group since the start; 1 if it started from zero."""
    if not operation.stateful:
        return {}
    start = [Reference().from_numpy(array) for array in operation.collect(inputs.state, ())]
    errors = group_errors(start, after[: len(start)], operation.outputs()[: len(start)], count)
    return {(entry.group, count): entry.error for entry in errors}
