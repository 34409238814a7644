"""The oracle with the errors that honest programs make, in the dtypes and in coarser formats.

What they are made for is in ``emulation``.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..array_ops import AdamSettings, Array, Arrays, Triple, Updated
from ..gan import GANSpec
from ..layers import Layer
from .maps import NumpyMaps, by_channel, like
from .reference import Reference

Rounding = Callable[[np.ndarray], np.ndarray]
BLOCK = 1024  # rows: the pixels of a batch of images are more, and summed in blocks, or by several threads
ROWS = 64  # of a batch, by which the errors of a unit are told
LARGER = 8  # times
ULPS = 2  # by which a result may be off: libraries differ in their exponentials and square roots
STARTS = 4096  # places from which numbers that were drawn once are taken again
FROM_OUTPUT: dict[str, Rounding] = {"sigmoid": lambda y: y * (1 - y), "tanh": lambda y: 1 - y * y}  # slopes
MANTISSAS = np.linspace(1, 2, 8192, endpoint=False)  # by which the unit of a rounding is found


class _Seeing(Reference):
    """The oracle, which notes what its ReLUs are applied to: of each time, (rows, units) of the first rows."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self._dtype, self._eps = np.dtype(dtype), float(np.finfo(dtype).eps)
        self.seen: list[np.ndarray] = []

    def _before_relu(self, pre: Array) -> Array:
        self.seen.append(np.array(pre[:ROWS], np.float64))
        return pre


class RecordingOracle(_Seeing):
    """The oracle, which notes the gradients of each step of Adam as well."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.gradients: list[list[np.ndarray]] = []  # of each step of Adam; in the dtype, for they are many

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        self.gradients.append([np.asarray(grad, self._dtype) for grad in grads])
        return super().adam_step(spec, params, grads, m, v, step)


class RoundingOracle(_Seeing):
    """The oracle with the errors of ``dtype``, several times as large, in sums of another order and other formulas.

    ``exact`` has run before. Where a gradient is hardly more than noise, Adam moves its parameter all the same, and
    one sample of errors says nothing of how far: ``allowed`` does. ``number``: which sample of errors it makes.
    """

    def __init__(self, dtype: str, exact: RecordingOracle, number: int = 0) -> None:
        super().__init__(dtype)
        self._exact = iter(exact.gradients)
        self.reaches: list[list[np.ndarray]] = []  # of each step of Adam: how far noise may move each parameter
        self._rng = np.random.default_rng(number)
        self._noise = np.empty(0)
        self._terms = np.empty(0)  # of the last gradient through a batch norm, the squares of what may cancel in it

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
        start = int(STARTS * self._rng.random())
        return self._noise[start : start + size].reshape(np.shape(array))

    def _stored(self, array: Array) -> Array:
        """Return numbers that are off by ``ULPS``, enlarged."""
        return array + array * self._noise_like(array) * (LARGER * ULPS * self._eps)

    def _product(self, a: Array, b: Array) -> Array:
        return self._off(a @ b, self._low(a[:, ::-1]) @ self._low(b[::-1]))

    def _summed(self, rows: Array) -> Array:
        return self._off(super()._summed(rows), _column_sums(self._low(rows[::-1])))

    def _mean(self, rows: Array) -> Array:
        return _column_sums(rows) / np.asarray(len(rows), rows.dtype)

    def _total(self, terms: Array, more: Any = 0.0) -> Array:
        """Note that the sum may be off as if every term were, to the same side: what they leave may be much smaller."""
        return Uncertain(super()._total(terms, more), LARGER * self._eps / 2 * np.abs(terms).sum())

    def _drifted(self, g_loss: Array, params: Any, grads: Any) -> Array:
        """Let g_loss be off by as much as D may be: all biases of a layer one way, and each weight in its own."""
        drift = 0.0
        for param, grad in zip(params, grads, strict=True):
            if isinstance(param, Uncertain):
                each = np.abs(grad.value) * param.allowed
                drift += float(each.sum() if each.ndim == 1 else np.sqrt(np.square(each).sum()))
        return Uncertain(_value(g_loss), (self.allowed(g_loss) or 0.0) + drift)

    def _read(self, params: Any) -> list[Array]:
        return [*map(_value, params)]

    def to_numpy(self, array: Array) -> np.ndarray:
        return super().to_numpy(_value(array))

    def _norms(self, rows: Array) -> Array:
        return self._stored(super()._norms(rows))

    def _weight_grad(self, layer: Layer, x: Array, delta: Array) -> Array:
        squares = like(self._terms, delta) if layer.batch_norm else np.square(delta)
        squares = layer.weight_grad(np.square(x), squares, NumpyMaps())
        return Gradient(super()._weight_grad(layer, x, delta), squares)

    def _bias_grad(self, delta: Array) -> Array:
        return Gradient(super()._bias_grad(delta), np.square(by_channel(delta)).sum(axis=0))

    def _added(self, a: Array, b: Array) -> Array:
        if isinstance(a, Gradient):
            return Gradient(super()._added(a.value, b.value), a.squares + b.squares)
        return super()._added(a, b)

    def _sigmoid(self, exact: Array) -> Array:
        """Let sigmoids be off by ``ULPS`` of 1, however small: they may be computed as (1 + tanh(x/2)) / 2."""
        return exact + self._noise_like(exact) * (LARGER * ULPS * self._eps / 2)

    def _act(self, activation: str, pre: Array) -> Array:
        exact = super()._act(activation, pre)
        return self._sigmoid(exact) if activation == "sigmoid" else exact

    def _phi(self, name: str, t: Array) -> tuple[Array, Array]:
        value, slope = super()._phi(name, t)
        return value, self._sigmoid(slope) if name == "softplus" else slope

    def _slope(self, activation: str, pre: Array) -> Array:
        """Return the slope as most libraries take it: from what the activation gave."""
        taken = FROM_OUTPUT.get(activation)
        return taken(self._stored(self._act(activation, pre))) if taken else super()._slope(activation, pre)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        exact = super().batch_norm(x, gamma, beta, eps)
        y, mean, var = super().batch_norm(self._low(x[::-1]), self._low(gamma), self._low(beta), eps)
        return self._off(exact[0], y[::-1]), self._off(exact[1], mean), self._off(exact[2], var)

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        """By the shorter formula of most libraries, whose terms are larger than what they leave.

        In a unit in which they leave next to nothing, the errors are as usual for such terms, not for what is left.
        """
        exact = super().batch_norm_grad(x, gamma, beta, eps, grad)
        low_x, low_grad = self._low(x), self._low(grad)
        centred = low_x - self._mean(low_x)
        std = np.sqrt(self._mean(np.square(centred)) + self._dtype.type(eps))
        normed = centred / std
        grad_gamma, grad_beta = _column_sums(low_grad * normed), _column_sums(low_grad)
        means = grad_beta / len(x), normed * (grad_gamma / len(x))
        scale = self._low(gamma) / std
        grad_x = scale * (low_grad - means[0] - means[1])
        self._terms = sum(np.square(scale * term, dtype=np.float64) for term in (low_grad, *means))
        return self._off(exact[0], grad_x), self._off(exact[1], grad_gamma), self._off(exact[2], grad_beta)

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        terms = [grad.squares if isinstance(grad, Gradient) else np.ones_like(grad) for grad in grads]
        before, grads = list(map(self.allowed, params)), list(map(_value, grads))
        off_m, off_v = (list(map(self.allowed, moments)) for moments in (m, v))
        params, m, v = map(self._read, (params, m, v))
        after, new_m, new_v = super().adam_step(spec, params, grads, m, v, step)
        exact, cancels = next(self._exact), isinstance(spec, GANSpec) and spec.objective.cancels
        least = LARGER * self._eps / 2 if cancels else 0.0
        noise = [_noise(grad - true, own, least) for grad, true, own in zip(grads, exact, terms, strict=True)]
        noisy = ([true + side * n for true, n in zip(exact, noise, strict=True)] for side in (0, 1, -1))
        ends = [super(RoundingOracle, self).adam_step(spec, params, grads, m, v, step)[0] for grads in noisy]
        moved, reaches, alone = [], [], []
        for old, known, sampled, true, n, own, middle, *both in zip(
            params, before, after, exact, noise, terms, *ends, strict=True
        ):
            reach = np.maximum(*(np.abs(end - middle) for end in both))
            most = np.sqrt(self._eps * own)  # half of the digits: what is worse, no sum has left
            alone.append(np.where((np.abs(true) <= n) & (n <= most), n, 0))  # of gradients that are nothing else
            if cancels:
                reach = np.maximum(reach, _whole_step(spec, alone[-1]))
            new = old + self._stored(sampled - old)
            new = self._off(new, self._low(new))
            moved.append(Uncertain(new, reach if known is None else known + reach))
            reaches.append(np.asarray(reach, self._dtype))
        self.reaches.append(reaches)
        new_m, new_v = [*map(self._stored, new_m)], [*map(self._stored, new_v)]
        if cancels:
            parts = list(zip(off_m, new_m, off_v, new_v, alone, strict=True))
            new_m = [_carried(known, new, spec.beta1, n) for known, new, _, _, n in parts]
            new_v = [_carried(known, new, spec.beta2, np.square(2 * n)) for _, _, known, new, n in parts]
        return moved, new_m, new_v

    @staticmethod
    def allowed(array: Array) -> Array | None:
        """Return by how much each element of a parameter or moment may be off, since noise decides it."""
        return array.allowed if isinstance(array, Uncertain) else None


@dataclass(frozen=True, eq=False)
class Uncertain:
    """An array, and by how much each of its elements may be off because noise decides it.

    No array itself: whatever computes with it must say what becomes of the two.
    """

    value: Array
    allowed: Array


@dataclass(frozen=True, eq=False)
class Gradient:
    """A gradient, and the sums of the squares of its terms."""

    value: Array
    squares: Array


def _column_sums(rows: Array) -> Array:
    """Return sums of rows as libraries take them: no more than ``BLOCK`` rows one after the other."""
    return sum(rows[start : start + BLOCK].sum(axis=0) for start in range(0, len(rows), BLOCK))


def _value(array: Array) -> Array:
    return array.value if isinstance(array, Uncertain | Gradient) else array


def _carried(before: Array | None, new: Array, beta: float, off: Array) -> Uncertain:
    """Return a moment with how much it may be off, since a gradient that goes into it is nothing but noise."""
    return Uncertain(new, (0.0 if before is None else beta * before) + (1 - beta) * off)


def _noise(error: Array, squares: Array, least: float) -> Array:
    """Return how large the errors of a gradient may be: no less than is usual for an element with such terms.

    ``squares`` are the sums of the squares of the terms. How much of them the errors are is the same for all elements,
    and no less than ``least``.
    """
    level = max(np.square(error).mean() / (squares.mean() or 1.0), least**2)
    return np.maximum(np.abs(error), np.sqrt(level * squares))


def _whole_step(spec: AdamSettings, noise: Array) -> Array:
    """Return how far Adam moves a parameter whose gradient is nothing but noise, however long it has been so.

    Such are the biases of a D whose loss is linear: what pushes them one way on real rows pushes them back on fake
    ones. The larger of Adam's two longest steps is taken: under a steady gradient, or one that begins (Kingma & Ba
    2015, section 2.1).
    """
    longest = max(1.0, (1 - spec.beta1) / math.sqrt(1 - spec.beta2))
    return spec.lr * longest * noise / (noise + spec.eps)


class KinkOracle(Reference):
    """The oracle in which all that noise decides goes to one ``side``: ReLUs by time and unit, parameters by step.

    ReLUs whose input is within ``doubt`` of the kink, and steps of Adam by what the noise of gradients makes of them.
    Not each to its other side: where rows are alike, as a young generator's are, what they change would cancel.
    """

    def __init__(self, doubt: Iterable[np.ndarray], reaches: Iterable[list[np.ndarray]], side: int) -> None:
        super().__init__()
        self._doubt, self._reaches, self._side = iter(doubt), iter(reaches), side

    def _before_relu(self, pre: Array) -> Array:
        return np.where(np.abs(pre) < next(self._doubt), self._side * np.abs(pre), pre)

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
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

    def _total(self, terms: Array, more: Any = 0.0) -> Array:
        """Return a sum that is off as if every term were rounded to the same side."""
        return super()._total(terms, more) + self._unit * np.abs(terms).sum()

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        y, mean, var = super().batch_norm(x, gamma, beta, eps)
        return self._stored(y), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        grad_x, grad_gamma, grad_beta = super().batch_norm_grad(x, gamma, beta, eps, grad)
        return self._stored(grad_x), grad_gamma, grad_beta
