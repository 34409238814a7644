"""What correct arithmetic in TF32 or halves gives: the oracle once more, with its numbers rounded to the format.

A product whose factors keep 8 or 11 bits moves a few ReLUs to the other side of their kink, and Adam's first step,
nearly lr · sign(g), turns round wherever noise outweighs the gradient. No constant says how far that goes in one
model; rounding in float64 does. docs/decisions/0007-precision.md has the measurements.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..arithmetic import Array, Triple
from ..operation import Inputs, Operation
from ..operations.rounding import cut, rounded
from ..precision import name_of
from .answers import Answers
from .gate import group_errors
from .reference import GATED_ITERATIONS, Reference, collected, solve

Rounding = Callable[[np.ndarray], np.ndarray]
SEED = 0  # of the inputs: no seed keeps clear of every kink here


class Emulation(Reference):
    """The oracle with the factors of every product rounded, and where ``stores``, what layers hand on as well."""

    def __init__(self, rounding: Rounding, stores: bool) -> None:
        super().__init__()
        self._round, self._stores = rounding, stores

    def _product(self, a: Array, b: Array) -> Array:
        return self._stored(self._round(a) @ self._round(b))

    def _stored(self, array: Array) -> Array:
        return self._round(array) if self._stores else array

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        y, mean, var = super().batch_norm(x, gamma, beta, eps)
        return self._stored(y), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        grad_x, grad_gamma, grad_beta = super().batch_norm_grad(x, gamma, beta, eps, grad)
        return self._stored(grad_x), grad_gamma, grad_beta


def _variants(name: str) -> list[Emulation]:
    """Return two honest ways to compute in a format, as hardware and compilers differ.

    Tensor cores may cut TF32 factors off instead of rounding them; a fused kernel hands on float32 in place of halves.
    """
    if name == "tf32":
        return [Emulation(partial(rounding, name=name), stores=False) for rounding in (rounded, cut)]
    return [Emulation(partial(rounded, name=name), stores) for stores in (True, False)]


def answer(operation: Operation, dtype: str, precision: str, images: np.ndarray) -> Answers:
    """Return the oracle's answers, in TF32 and halves with what honest arithmetic deviates from them."""
    if precision == "ieee":
        return solve(operation, dtype, images)
    inputs = operation.inputs(SEED, dtype, images)
    counts = (1, GATED_ITERATIONS)
    reference = Reference()
    after = collected(reference, operation, inputs, counts)
    deviations: dict[tuple[str, int], float] = {}
    for variant in _variants(name_of(dtype, precision)):
        emulated = collected(variant, operation, inputs, counts)
        for count in counts:
            for entry in group_errors(emulated[count], after[count], operation.outputs(), count):
                key = entry.group, count
                deviations[key] = max(entry.error, deviations.get(key, 0.0))
    return Answers(
        SEED,
        inputs.digest(),
        reference.nearest_kink,
        GATED_ITERATIONS,
        False,
        after,
        deviations,
        _changes(operation, inputs, after),
    )


def _changes(operation: Operation, inputs: Inputs, after: dict[int, list[np.ndarray]]) -> dict[tuple[str, int], float]:
    """Return by how much of itself each group has moved away from the state it started in; 1 from zero."""
    if not operation.stateful:
        return {}
    start = [Reference().from_numpy(array) for array in operation.collect(inputs.state, ())]
    outputs = operation.outputs()[: len(start)]
    return {
        (entry.group, count): entry.error
        for count, answers in after.items()
        for entry in group_errors(start, answers[: len(start)], outputs, count)
    }
