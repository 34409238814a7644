"""What correct arithmetic in a format gives: the oracle once more, with the errors that every honest program makes.

A product whose factors keep 8 or 11 bits moves a few ReLUs to the other side of their kink, and Adam's first step,
nearly lr · sign(g), turns round wherever noise outweighs the gradient. So may the noise of float32, in an ill-natured
model. No constant says how far that goes in one model; emulation does. docs/decisions/0007-precision.md and
0009-tolerance.md have the measurements.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..arithmetic import Array, Arrays, Triple, Updated
from ..gan import GANSpec
from ..operation import Inputs, Operation
from ..operations.rounding import cut, rounded
from ..precision import name_of
from .answers import Answers
from .gate import GATED_ITERATIONS, group_errors
from .reference import Reference, act, collected, draw

Rounding = Callable[[np.ndarray], np.ndarray]
ROWS = 64  # of a batch, by which the errors of a unit are told
DOUBT = 3  # times its typical error, enlarged already, a unit may be off
LARGER = 8  # times
STRAYED = 0.1  # of itself, with errors enlarged so
ULPS = 2  # by which a result may be off: libraries differ in their exponentials and square roots
STARTS = 4096  # places from which numbers that were drawn once are taken again


class _Watched(Reference):
    """The oracle, which notes what its ReLUs are applied to: of each time, (rows, units) of the first rows."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def _before_relu(self, pre: Array) -> Array:
        self.seen.append(np.array(pre[:ROWS], np.float64))
        return pre


class Ieee(_Watched):
    """The oracle with the errors of ``dtype``, several times as large, in sums of another order and other formulas.

    So they reach what is rare: an element whose gradient is hardly more than noise, which Adam moves all the same.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self._dtype = np.dtype(dtype)
        self._rng = np.random.default_rng(0)
        self._noise = np.empty(0)

    def _low(self, array: Array) -> Array:
        return array.astype(self._dtype)

    def _off(self, exact: Array, low: Array) -> Array:
        """Return ``exact`` with the error of ``low``, enlarged."""
        return exact + LARGER * (low - exact)

    def _stored(self, array: Array) -> Array:
        """Return numbers that off by ``ULPS``, enlarged: drawn once, since that is slow, and taken from anywhere."""
        size = math.prod(np.shape(array))
        if len(self._noise) < size + STARTS:
            self._noise = self._rng.uniform(-1, 1, size + STARTS) * (LARGER * ULPS * np.finfo(self._dtype).eps)
        start = int(self._rng.integers(STARTS))
        return array + array * self._noise[start : start + size].reshape(np.shape(array))

    def _product(self, a: Array, b: Array) -> Array:
        return self._off(a @ b, self._low(a[:, ::-1]) @ self._low(b[::-1]))

    def _summed(self, rows: Array) -> Array:
        return self._off(super()._summed(rows), super()._summed(self._low(rows[::-1])))

    def _slope(self, activation: str, pre: Array) -> Array:
        """Return the slope as most libraries take it: from what the activation gave."""
        exact, low = super()._slope(activation, pre), self._low(act(activation, pre))
        return self._off(exact, low * (1 - low)) if activation == "sigmoid" else exact

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        exact = super().batch_norm(x, gamma, beta, eps)
        y, mean, var = super().batch_norm(self._low(x[::-1]), self._low(gamma), self._low(beta), eps)
        return self._off(exact[0], y[::-1]), self._off(exact[1], mean), self._off(exact[2], var)

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        """By the shorter formula of most libraries, whose terms are larger than what they leave."""
        exact = super().batch_norm_grad(x, gamma, beta, eps, grad)
        low_x, low_grad = self._low(x), self._low(grad)
        std = np.sqrt(low_x.var(axis=0) + self._dtype.type(eps))
        normed = (low_x - low_x.mean(axis=0)) / std
        grad_gamma, grad_beta = (low_grad * normed).sum(axis=0), low_grad.sum(axis=0)
        grad_x = self._low(gamma) / std * (low_grad - grad_beta / len(x) - normed * (grad_gamma / len(x)))
        return self._off(exact[0], grad_x), self._off(exact[1], grad_gamma), self._off(exact[2], grad_beta)

    def adam_step(self, spec: GANSpec, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        after, m, v = super().adam_step(spec, params, grads, m, v, step)
        moved = [old + self._stored(new - old) for old, new in zip(params, after, strict=True)]
        return [self._off(p, self._low(p)) for p in moved], [*map(self._stored, m)], [*map(self._stored, v)]


class _Doubtful(Reference):
    """The oracle with every ReLU whose input is within ``doubt`` of the kink, by time and unit, on one ``side``.

    Not each on its other side: where rows are alike, as a young generator's are, what they change would cancel.
    """

    def __init__(self, doubt: Iterable[np.ndarray], side: int) -> None:
        super().__init__()
        self._doubt, self._side = iter(doubt), side

    def _before_relu(self, pre: Array) -> Array:
        return np.where(np.abs(pre) < next(self._doubt), self._side * np.abs(pre), pre)


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


def _emulated(
    exact: _Watched, operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]
) -> Iterator[dict[int, list[np.ndarray]]]:
    """Yield the outputs of honest ways to compute in a format, as hardware, compilers and libraries differ.

    Tensor cores may cut TF32 factors off instead of rounding them; a fused kernel hands on float32 in place of halves.
    """
    name = name_of(dtype, precision)
    if precision == "ieee":
        honest = Ieee(dtype)
        yield collected(honest, operation, inputs, counts)
        errors = (np.square(seen - true).mean(axis=0) for seen, true in zip(honest.seen, exact.seen, strict=True))
        doubt = [DOUBT * np.sqrt(error) for error in errors]
        for side in (1, -1) if doubt else ():
            yield collected(_Doubtful(doubt, side), operation, inputs, counts)
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

    Fewer are to be compared where honest programs have strayed from one another.
    """
    if precision == "ieee":
        seed, inputs = draw(operation, dtype, images, first_seed)
    else:  # no seed keeps clear of every kink here
        seed, inputs = first_seed, operation.inputs(first_seed, dtype, images)
    found = answers_from(operation, inputs, dtype, precision, counts)
    while precision == "ieee" and found.most > 1 and _strayed(found):
        fewer = answers_from(operation, inputs, dtype, precision, (1, found.most // 2))
        found = Answers(
            0,
            "",
            fewer.most,
            found.after | fewer.after,
            found.deviations | fewer.deviations,
            found.changes | fewer.changes,
        )
    return found._replace(seed=seed, digest=inputs.digest())


def _strayed(answers: Answers) -> bool:
    return any(error > STRAYED for (_, count), error in answers.deviations.items() if count == answers.most)


def answers_from(operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]) -> Answers:
    """Return the oracle's answers after ``counts`` iterations from ``inputs``, and how far honest arithmetic is off."""
    exact = _Watched()
    after = collected(exact, operation, inputs, counts)
    deviations: dict[tuple[str, int], float] = {}
    for emulated in _emulated(exact, operation, inputs, dtype, precision, counts):
        for count in counts:
            for entry in group_errors(emulated[count], after[count], operation.outputs(), count):
                key = entry.group, count
                deviations[key] = max(entry.error, deviations.get(key, 0.0))
    return Answers(0, "", max(counts), after, deviations, _changes(operation, inputs, after))


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
