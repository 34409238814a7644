"""The choice of the inputs that programs are checked with, and the oracle's outputs on them after each iteration."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ..array_ops import map_arrays
from ..operation import Inputs, ModelOperation, Operation
from .reference import NearKinkError, Reference

SEEDS = 16  # seeds to try, until the first iteration of one stays clear of every kink
KINK_MARGIN = 2e-6  # float32, for sums of 784 products; scaled for other widths and dtypes


def kink_margin(operation: Operation, dtype: str) -> float:
    """Return the distance from zero at which rounding in ``dtype`` can no longer flip a ReLU."""
    if not isinstance(operation, ModelOperation):
        return 0.0  # it has none
    layers = (*operation.spec.generator_layers, *operation.spec.discriminator_layers)
    widest = max(layer.fan_in for layer in layers)
    rounding = np.finfo(dtype).eps / np.finfo(np.float32).eps
    return float(KINK_MARGIN * rounding * np.sqrt(widest / 784))


def draw(operation: Operation, dtype: str, images: np.ndarray, first: int = 0) -> tuple[int, Inputs]:
    """Return the first seed from ``first`` on whose first iteration stays clear of every kink, and its inputs.

    If none of ``SEEDS`` seeds does, it is the one that stays farthest. Such inputs make the gate stricter: if rounding
    flips a ReLU, Adam's first step changes sign and moves those weights by 2·lr, and the gate must tolerate that.
    Images have too many pixels for any seed to stay clear: the first is taken.
    """
    best, farthest = first, 0.0
    for seed in range(first, first + SEEDS):
        inputs, reference = operation.inputs(seed, dtype, images), Reference(clear_of=farthest)
        if not operation.stateful or (isinstance(operation, ModelOperation) and operation.spec.convolutional):
            return seed, inputs
        with contextlib.suppress(NearKinkError):
            next(_iterations(reference, operation, inputs))
            best, farthest = seed, reference.nearest_kink
        if farthest >= kink_margin(operation, dtype):
            break
    return best, operation.inputs(best, dtype, images)


def _iterations(reference: Reference, operation: Operation, inputs: Inputs) -> Iterator[tuple[Any, Any]]:
    """Yield (state, results) after each iteration."""
    fixed, state = (map_arrays(reference.from_numpy, part) for part in (inputs.fixed, inputs.state))
    while True:
        for batch in inputs.batches:
            state, results = operation.apply(reference, fixed, state, map_arrays(reference.from_numpy, batch))
            yield state, results


def outcomes(
    reference: Reference, operation: Operation, inputs: Inputs, counts: Collection[int]
) -> Iterator[tuple[int, list[Any]]]:
    """Yield each of ``counts`` iterations with the outputs after it, as the arrays that ``reference`` computed."""
    if not operation.stateful:  # what an iteration gives depends on its batch alone
        for done in sorted(counts):
            batch = inputs.batches[(done - 1) % len(inputs.batches)]
            yield done, operation.collect(*next(_iterations(reference, operation, inputs._replace(batches=[batch]))))
        return
    run = _iterations(reference, operation, inputs)
    for done in range(1, max(counts) + 1):
        outcome = operation.collect(*next(run))
        if done in counts:
            yield done, outcome


def collected(
    reference: Reference, operation: Operation, inputs: Inputs, counts: Collection[int]
) -> dict[int, list[np.ndarray]]:
    """Return the outputs after each of ``counts`` iterations."""
    return {
        done: [reference.to_numpy(array) for array in outcome]
        for done, outcome in outcomes(reference, operation, inputs, counts)
    }
