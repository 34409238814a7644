"""What correct arithmetic in a format gives: the oracle once more, with the errors that every honest program makes.

A product whose factors keep 8 or 11 bits moves a few ReLUs to the other side of their kink, and Adam's first step,
nearly lr · sign(g), turns round wherever noise outweighs the gradient. So may the noise of float32, in an ill-natured
model. No constant says how far that goes in one model; emulation does. docs/decisions/0007-precision.md and
0009-tolerance.md have the measurements.
"""

import itertools
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
from .drawing import collected, draw, outcomes
from .gate import GATED_ITERATIONS, group_errors
from .reference import Reference, act

Rounding = Callable[[np.ndarray], np.ndarray]
ROWS = 64  # of a batch, by which the errors of a unit are told
DOUBT = 3  # times its typical error, enlarged already, a unit may be off
LARGER = 8  # times
STRAYED = 0.1  # of itself, with errors enlarged so
ULPS = 2  # by which a result may be off: libraries differ in their exponentials and square roots
STARTS = 4096  # places from which numbers that were drawn once are taken again
MANTISSAS = np.linspace(1, 2, 8192, endpoint=False)  # by which the unit of a rounding is found


class _Seeing(Reference):
    """The oracle, which notes what its ReLUs are applied to: of each time, (rows, units) of the first rows."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self._dtype = np.dtype(dtype)
        self.seen: list[np.ndarray] = []

    def _before_relu(self, pre: Array) -> Array:
        self.seen.append(np.array(pre[:ROWS], np.float64))
        return pre


class _Watched(_Seeing):
    """The oracle, which notes the gradients of each step of Adam as well."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.gradients: list[list[np.ndarray]] = []  # of each step of Adam; in the dtype, for they are many

    def adam_step(self, spec: GANSpec, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        self.gradients.append([np.asarray(grad, self._dtype) for grad in grads])
        return super().adam_step(spec, params, grads, m, v, step)


class Ieee(_Seeing):
    """The oracle with the errors of ``dtype``, several times as large, in sums of another order and other formulas.

    ``exact`` has run before. Where a gradient is hardly more than noise, Adam moves its parameter all the same, and
    one sample of errors says nothing of how far: ``allowed`` does.
    """

    def __init__(self, dtype: str, exact: _Watched) -> None:
        super().__init__(dtype)
        self._exact = iter(exact.gradients)
        # By the identity of an array, which is kept alive: what ``allowed`` says, and the squares of gradients' terms.
        self._allowed: dict[int, tuple[Array, Array]] = {}
        self._terms: dict[int, tuple[Array, Array]] = {}
        self.reaches: list[list[np.ndarray]] = []  # of each step of Adam: how far noise may move each parameter
        self._rng = np.random.default_rng(0)
        self._noise = np.empty(0)

    def _low(self, array: Array) -> Array:
        return array.astype(self._dtype)

    def _off(self, exact: Array, low: Array) -> Array:
        """Return ``exact`` with the error of ``low``, enlarged."""
        return exact + LARGER * (low - exact)

    def _noise_like(self, array: Array) -> Array:
        """Return numbers from -1 to 1 in the shape of an array: drawn once, which is slow, and taken from anywhere."""
        size = math.prod(np.shape(array))
        if len(self._noise) < size + STARTS:
            self._noise = self._rng.uniform(-1, 1, size + STARTS)
        start = int(self._rng.integers(STARTS))
        return self._noise[start : start + size].reshape(np.shape(array))

    def _stored(self, array: Array) -> Array:
        """Return numbers that are off by ``ULPS``, enlarged."""
        return array + array * self._noise_like(array) * (LARGER * ULPS * np.finfo(self._dtype).eps)

    def _product(self, a: Array, b: Array) -> Array:
        return self._off(a @ b, self._low(a[:, ::-1]) @ self._low(b[::-1]))

    def _summed(self, rows: Array) -> Array:
        return self._off(super()._summed(rows), super()._summed(self._low(rows[::-1])))

    def _total(self, terms: Array) -> Array:
        """Return a sum that is off as if every term were, to the same side: what they leave may be much smaller."""
        return super()._total(terms) + LARGER * np.finfo(self._dtype).eps / 2 * np.abs(terms).sum()

    def _norms(self, rows: Array) -> Array:
        return self._stored(super()._norms(rows))

    def _weight_gradient(self, delta: Array, a_in: Array) -> Array:
        return self._noted(super()._weight_gradient(delta, a_in), np.square(delta.T) @ np.square(a_in))

    def _bias_gradient(self, delta: Array) -> Array:
        return self._noted(super()._bias_gradient(delta), np.square(delta).sum(axis=0))

    def _added(self, a: Array, b: Array) -> Array:
        added = super()._added(a, b)
        if id(a) in self._terms:
            self._noted(added, self._terms.pop(id(a))[1] + self._terms.pop(id(b))[1])
        return added

    def _noted(self, gradient: Array, squares: Array) -> Array:
        self._terms[id(gradient)] = gradient, squares
        return gradient

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
        after, new_m, new_v = super().adam_step(spec, params, grads, m, v, step)
        terms = [self._terms.get(id(grad), (grad, np.ones_like(grad)))[1] for grad in grads]
        # What pushes a bias of a critic one way on real rows pushes it back on fake ones: only rounding is left of it.
        least = LARGER * ULPS * np.finfo(self._dtype).eps if spec.wasserstein else 0.0
        triples = zip(grads, next(self._exact), terms, strict=True)
        noise = [_noise(grad - true, own, least) for grad, true, own in triples]
        self._terms.clear()
        noisy = ([grad + side * n for grad, n in zip(grads, noise, strict=True)] for side in (1, -1))
        ends = [super(Ieee, self).adam_step(spec, params, grads, m, v, step)[0] for grads in noisy]
        moved, reaches = [], []
        for old, middle, *both in zip(params, after, *ends, strict=True):
            reach = np.maximum(*(np.abs(end - middle) for end in both))
            new = old + self._stored(middle - old)
            new = self._off(new, self._low(new))
            before = self._allowed.pop(id(old), None)
            self._allowed[id(new)] = new, reach if before is None else before[1] + reach
            moved.append(new)
            reaches.append(np.asarray(reach, self._dtype))
        self.reaches.append(reaches)
        return moved, [*map(self._stored, new_m)], [*map(self._stored, new_v)]

    def allowed(self, array: Array) -> Array | None:
        """Return by how much each element of a parameter may be off, since noise decides how Adam moves it."""
        return self._allowed[id(array)][1] if id(array) in self._allowed else None


def _noise(error: Array, squares: Array, least: float) -> Array:
    """Return how large the errors of a gradient may be: no less than is usual for an element with such terms.

    ``squares`` are the sums of the squares of the terms. How much of them the errors are is the same for all elements,
    and no less than ``least``.
    """
    level = max(np.square(error).mean() / (squares.mean() or 1.0), least**2)
    return np.maximum(np.abs(error), np.sqrt(level * squares))


class _Doubtful(Reference):
    """The oracle in which all that noise decides goes to one ``side``: ReLUs by time and unit, parameters by step.

    ReLUs whose input is within ``doubt`` of the kink, and steps of Adam by what the noise of gradients makes of them.
    Not each to its other side: where rows are alike, as a young generator's are, what they change would cancel.
    """

    def __init__(self, doubt: Iterable[np.ndarray], reaches: Iterable[list[np.ndarray]], side: int) -> None:
        super().__init__()
        self._doubt, self._reaches, self._side = iter(doubt), iter(reaches), side

    def _before_relu(self, pre: Array) -> Array:
        return np.where(np.abs(pre) < next(self._doubt), self._side * np.abs(pre), pre)

    def adam_step(self, spec: GANSpec, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        after, m, v = super().adam_step(spec, params, grads, m, v, step)
        return [p + self._side * reach for p, reach in zip(after, next(self._reaches), strict=True)], m, v


class Emulation(Reference):
    """The oracle with the factors of every product rounded, and where ``stores``, what layers hand on as well."""

    def __init__(self, rounding: Rounding, stores: bool) -> None:
        super().__init__()
        self._round, self._stores = rounding, stores
        self._unit = float(np.abs(rounding(MANTISSAS) - MANTISSAS).max())

    def _product(self, a: Array, b: Array) -> Array:
        return self._stored(self._round(a) @ self._round(b))

    def _stored(self, array: Array) -> Array:
        return self._round(array) if self._stores else array

    def _total(self, terms: Array) -> Array:
        """Return a sum that is off as if every term were rounded to the same side."""
        return super()._total(terms) + self._unit * np.abs(terms).sum()

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        y, mean, var = super().batch_norm(x, gamma, beta, eps)
        return self._stored(y), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        grad_x, grad_gamma, grad_beta = super().batch_norm_grad(x, gamma, beta, eps, grad)
        return self._stored(grad_x), grad_gamma, grad_beta


def _otherwise(
    exact: _Watched, honest: Ieee | None, operation: Operation, inputs: Inputs, dtype: str, precision: str,
    counts: Collection[int],
) -> Iterator[dict[int, list[np.ndarray]]]:  # fmt: skip
    """Yield the outputs of further honest ways to compute in a format, as hardware, compilers and libraries differ.

    ReLUs in doubt may all be on one side. Tensor cores may cut TF32 factors off instead of rounding them; a fused
    kernel hands on float32 in place of halves.
    """
    name = name_of(dtype, precision)
    if honest is not None:
        errors = (np.square(seen - true).mean(axis=0) for seen, true in zip(honest.seen, exact.seen, strict=True))
        doubt = [DOUBT * np.sqrt(error) for error in errors]
        for side in (1, -1) if doubt or honest.reaches else ():
            yield collected(_Doubtful(doubt, honest.reaches, side), operation, inputs, counts)
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
            found.allowed | fewer.allowed,
        )
    return found._replace(seed=seed, digest=inputs.digest())


def _strayed(answers: Answers) -> bool:
    return any(error > STRAYED for (_, count), error in answers.deviations.items() if count == answers.most)


def answers_from(operation: Operation, inputs: Inputs, dtype: str, precision: str, counts: Collection[int]) -> Answers:
    """Return the oracle's answers after ``counts`` iterations from ``inputs``, and how far honest arithmetic is off."""
    exact = _Watched(dtype if precision == "ieee" else "float32")
    after = collected(exact, operation, inputs, counts)
    honest, allowed, emulated = None, dict[int, dict[int, np.ndarray]](), dict[int, list[np.ndarray]]()
    if precision == "ieee":
        honest = Ieee(dtype, exact)
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
