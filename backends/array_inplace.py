"""NumPy and CuPy in place: ``out=`` everywhere, and Adam in pieces that stay in cache."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ganbench.array_ops import AdamSettings
from ganbench.backend import Array
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE
from ganbench.layers import Window

from .inplace import Kernels, LossColumns
from .windows import Windows, matrix


class Counter(NamedTuple):
    """A count of Adam's steps by what depends on it, so that a captured graph can count."""

    powers: Array  # beta1 and beta2 to the power of the step
    scalars: Array
    rates: Array  # lr and eps with both bias corrections folded in


class ArrayKernels(Windows, Kernels):
    """Universal functions with ``out=`` on arrays of ``xp``.

    ``piece`` is how many values Adam takes at a time: it reads four buffers in twelve passes, so a piece
    and its scratch should stay in the second-level cache.
    """

    def __init__(self, xp: Any, dtype: Any, piece: int) -> None:
        self.xp, self._dtype, self._piece = xp, dtype, piece
        self._scratch: dict[tuple[int, ...], tuple[Array, Array]] = {}
        self._masks: dict[tuple[int, ...], Array] = {}
        self._constants: dict[tuple[int, int], Array] = {}
        self._kept: dict[tuple[object, ...], Array] = {}
        self._left: dict[tuple[int, int], tuple[Any, ...]] = {}  # windows by their shape: of which image, and they
        self._betas = xp.ones(2, "float64")
        self._least = float(np.sqrt(np.finfo(dtype).tiny))

    def empty(self, *shape: int) -> Array:
        return self.xp.empty(shape, self._dtype)

    def _two(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return scratch of that shape, allocated when first asked for."""
        if shape not in self._scratch:
            self._scratch[shape] = self.empty(*shape), self.empty(*shape)
        return self._scratch[shape]

    def _row(self, n: int, value: int) -> Array:
        """Return ``value`` n times over: as an array, NumPy's vector loops take it, and products can sum by it."""
        if (n, value) not in self._constants:
            self._constants[n, value] = self.xp.full(n, value, self._dtype)
        return self._constants[n, value]

    def _positive(self, x: Array) -> Array:
        """Return where x > 0, in memory that the next call overwrites."""
        if x.shape not in self._masks:
            self._masks[x.shape] = self.xp.empty(x.shape, bool)
        return self.xp.greater(x, 0, out=self._masks[x.shape])

    def _zeros(self, shape: tuple[int, ...], dtype: Any, written: object) -> Array:
        if (shape, written) not in self._kept:
            self._kept[shape, written] = self.xp.zeros(shape, dtype)
        return self._kept[shape, written]

    def _times(self, a: Array, b: Array, out: Array = None) -> Array:
        out = self._two((len(a), b.shape[1]))[0] if out is None else out
        self.product(a, b, out)
        return out

    def _in_order(self, view: Array, use: str) -> Array:
        kept = self._zeros(view.shape, view.dtype, use)
        kept[...] = view
        return kept

    def conv(self, x: Array, w: Array, window: Window, out: Array = None) -> Array:
        """Leaves the windows for the weight gradient, if that is the next to ask for windows of such a shape."""
        columns = self._columns(x, window)
        self._left[columns.shape] = *self._place(x), window, columns
        return self._times(columns, matrix(w), out)

    def _columns(self, x: Array, window: Window) -> Array:
        columns = super()._columns(x, window)
        self._left.pop(columns.shape, None)  # its memory holds others now
        return columns

    def _columns_again(self, x: Array, window: Window) -> Array:
        (c, *sides), (_, *places), k, _, _ = window
        rows = x.size // (c * math.prod(sides)) * math.prod(places)
        *whose, columns = self._left.pop((rows, k * k * c), (None,))
        return columns if whose == [*self._place(x), window] else self._columns(x, window)

    def _place(self, x: Array) -> tuple[int, int]:
        """Return where an array begins in memory, and its size."""
        return (x.ctypes.data if self.xp is np else x.data.ptr), x.size

    def copy(self, source: Array, target: Array) -> None:
        target[...] = self.xp.asarray(source)

    def product(self, a: Array, b: Array, out: Array) -> None:
        if a.shape[1] == 1:  # an outer product, with D's last layer, for which OpenBLAS takes ten times as long
            self.xp.multiply(a, b, out=out)
        else:
            self.xp.matmul(a, b, out=out)

    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        self.product(x, w, out)
        self.xp.add(out, b, out=out)
        self.activate(activation, out)

    def activate(self, activation: str, x: Array) -> None:
        xp = self.xp
        if activation == "relu":
            xp.maximum(x, self._row(x.shape[1], 0), out=x)
        elif activation == "leaky_relu":
            scaled, _ = self._two(x.shape)
            xp.multiply(x, LEAKY_SLOPE, out=scaled)
            xp.maximum(x, scaled, out=x)
        elif activation == "tanh":
            xp.tanh(x, out=x)
        elif activation == "sigmoid":  # 1 / (1 + e⁻ˣ) as ½ (1 + tanh(x/2)), which cannot overflow
            xp.multiply(x, 0.5, out=x)
            xp.tanh(x, out=x)
            xp.multiply(x, 0.5, out=x)
            xp.add(x, 0.5, out=x)

    def activation_grad(self, activation: str, out: Array, grad: Array) -> None:
        xp = self.xp
        if activation == "identity":
            return
        if activation == "relu":
            xp.multiply(grad, self._positive(out), out=grad)
            return
        slope, _ = self._two(out.shape)
        if activation == "leaky_relu":
            xp.maximum(self._positive(out), LEAKY_SLOPE, out=slope, dtype=self._dtype)
        else:  # tanh: 1 − y²; sigmoid: y − y²
            xp.multiply(out, out, out=slope)
            xp.subtract(1 if activation == "tanh" else out, slope, out=slope)
        xp.multiply(grad, slope, out=grad)

    def column_sums(self, x: Array, out: Array) -> None:
        if x.shape[1] == 1:  # a product of two vectors, for which CuPy would allocate
            self.xp.sum(x, axis=0, out=out)
        else:
            self.xp.matmul(self._row(len(x), 1), x, out=out)

    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, running: Sequence[Array], saved: Sequence[Array], out: Array
    ) -> None:
        """Leaves x − mean in x, and 1/std in ``saved``."""
        xp, (mean, scale) = self.xp, saved
        unbiased, _ = self._two(mean.shape)
        self.column_sums(x, mean)
        xp.divide(mean, len(x), out=mean)
        xp.subtract(x, mean, out=x)
        xp.multiply(x, x, out=out)
        self.column_sums(out, scale)
        xp.divide(scale, len(x), out=scale)
        xp.multiply(scale, len(x) / (len(x) - 1), out=unbiased)
        self._mix(running[0], mean)
        self._mix(running[1], unbiased)
        xp.add(scale, BATCH_NORM_EPS, out=scale)
        xp.sqrt(scale, out=scale)
        xp.divide(1, scale, out=scale)
        xp.multiply(gamma, scale, out=mean)
        xp.multiply(x, mean, out=out)
        xp.add(out, beta, out=out)

    def _mix(self, old: Array, new: Array) -> None:
        _, share = self._two(new.shape)
        self.xp.multiply(new, BATCH_NORM_MOMENTUM, out=share)
        self.xp.multiply(old, 1 - BATCH_NORM_MOMENTUM, out=old)
        self.xp.add(old, share, out=old)

    def batch_norm_grad(
        self, x: Array, gamma: Array, saved: Sequence[Array], grad: Array, grad_gamma: Array, grad_beta: Array
    ) -> None:
        xp = self.xp
        product, _ = self._two(x.shape)
        mean, _ = self._two(gamma.shape)
        self.column_sums(grad, grad_beta)
        xp.multiply(grad, x, out=product)
        self.column_sums(product, grad_gamma)
        xp.multiply(grad_gamma, saved[1], out=grad_gamma)
        xp.divide(grad_gamma, len(x), out=mean)
        xp.multiply(mean, saved[1], out=mean)
        xp.multiply(x, mean, out=x)
        xp.divide(grad_beta, len(grad), out=mean)
        xp.subtract(grad, mean, out=grad)
        xp.subtract(grad, x, out=grad)
        xp.multiply(gamma, saved[1], out=mean)
        xp.multiply(grad, mean, out=grad)

    def loss(self, logits: Array, loss: LossColumns, value: Array, grad: Array) -> None:
        xp = self.xp
        if loss.phi == "identity":  # a shift would change nothing
            xp.multiply(logits, loss.slope, out=grad)
            xp.sum(grad, axis=0, out=value.reshape(1))  # over both axes, CuPy would allocate
            self.copy(loss.slope, grad)
            return
        terms, _ = self._two(logits.shape)
        xp.multiply(logits, loss.sign, out=grad)
        if loss.shift is not None:
            xp.add(grad, loss.shift, out=grad)
        if loss.phi == "softplus":
            xp.logaddexp(0, grad, out=terms)
            self.activate("sigmoid", grad)
        elif loss.phi == "relu":
            xp.maximum(grad, 0, out=terms)
            xp.sign(terms, out=grad)
        else:
            xp.multiply(grad, grad, out=terms)
            xp.multiply(grad, 2, out=grad)
        xp.sum(terms, axis=0, out=value.reshape(1))
        xp.multiply(value, loss.scale, out=value)
        xp.multiply(grad, loss.slope, out=grad)

    def mix(self, real: Array, fake: Array, u: Array, out: Array) -> None:
        xp = self.xp
        xp.subtract(real, fake, out=out)
        xp.multiply(out, u, out=out)
        xp.add(out, fake, out=out)

    def penalise(self, slopes: Array, weight: float, value: Array, total: Array) -> None:
        xp, rows = self.xp, len(slopes)
        squares, _ = self._two(slopes.shape)
        norms, off = self._two((rows, 1))
        xp.multiply(slopes, slopes, out=squares)
        self.product(squares, self._row(slopes.shape[1], 1)[:, None], norms)
        xp.sqrt(norms, out=norms)
        xp.subtract(norms, 1, out=off)
        xp.maximum(norms, self._least, out=norms)  # where there is no slope, nothing pulls at it
        xp.divide(off, norms, out=norms)
        xp.multiply(norms, 2 * weight / rows, out=norms)
        xp.multiply(slopes, norms, out=slopes)
        xp.multiply(off, off, out=off)
        xp.sum(off, axis=0, out=value.reshape(1))
        xp.multiply(value, weight / rows, out=value)
        xp.add(total, value, out=total)

    def activation_second_grad(self, activation: str, out: Array, p: Array, pi: Array, target: Array) -> None:
        xp = self.xp
        xp.multiply(out, -2, out=target)
        if activation == "sigmoid":
            xp.add(target, 1, out=target)
        xp.multiply(target, p, out=target)
        xp.multiply(target, pi, out=target)

    def add(self, x: Array, out: Array) -> None:
        self.xp.add(out, x, out=out)

    def counter(self) -> Counter:
        xp = self.xp
        return Counter(xp.ones(2, "float64"), xp.ones(2, "float64"), xp.ones(2, self._dtype))

    def set_step(self, spec: AdamSettings, counter: Counter, step: int) -> None:
        betas = self.xp.asarray([spec.beta1, spec.beta2])
        self.copy(betas, self._betas)
        self.copy(betas**step, counter.powers)

    def begin_step(self, spec: AdamSettings, counter: Counter) -> None:
        """Fold both bias corrections into two scalars, as section 2 of Kingma & Ba suggests."""
        xp, scalars, rates = self.xp, counter.scalars, counter.rates
        quotient, root = scalars[:1], scalars[1:]
        xp.multiply(counter.powers, self._betas, out=counter.powers)
        xp.subtract(1, counter.powers, out=scalars)
        xp.sqrt(root, out=root)
        xp.divide(root, quotient, out=quotient)
        xp.multiply(quotient, spec.lr, out=rates[:1], casting="same_kind")
        xp.multiply(root, spec.eps, out=rates[1:], casting="same_kind")

    def adam(self, spec: AdamSettings, counter: Counter, flat: Sequence[Array]) -> None:
        xp, size = self.xp, len(flat[0])
        lr, eps = counter.rates[:1], counter.rates[1:]
        scratch, _ = self._two((min(self._piece, size),))
        for start in range(0, size, self._piece):
            p, m, v, g = (array[start : start + self._piece] for array in flat)
            t = scratch[: len(p)]
            xp.multiply(m, spec.beta1, out=m)
            xp.multiply(g, 1 - spec.beta1, out=t)
            xp.add(m, t, out=m)
            xp.multiply(v, spec.beta2, out=v)
            xp.multiply(g, g, out=g)
            xp.multiply(g, 1 - spec.beta2, out=g)
            xp.add(v, g, out=v)
            xp.sqrt(v, out=t)
            xp.add(t, eps, out=t)
            xp.divide(m, t, out=t)
            xp.multiply(t, lr, out=t)
            xp.subtract(p, t, out=p)


class ConvolutionKernels(ArrayKernels):
    """One convolution alone: the result of each map lies in memory of its own, which the next call overwrites."""

    def conv(self, x: Array, w: Array, window: Window, out: Array = None) -> Array:
        (o, *sides), images = window.small, x.size // math.prod(window.big)
        return super().conv(x, w, window, self._zeros((images * math.prod(sides), o), x.dtype, "conv"))

    def conv_transpose(self, y: Array, w: Array, window: Window, out: Array = None) -> Array:
        (c, *sides), images = window.big, y.size // math.prod(window.small)
        return super().conv_transpose(y, w, window, self._zeros((images * math.prod(sides), c), y.dtype, "transpose"))

    def conv_weight_grad(self, x: Array, y: Array, window: Window, out: Array = None) -> Array:
        made = self._zeros((window.small[0], window.kernel, window.kernel, window.big[0]), x.dtype, "weight")
        return super().conv_weight_grad(x, y, window, self.xp.moveaxis(made, -1, 1))
