"""NumPy and CuPy in place: ``out=`` everywhere, and Adam in pieces that stay in cache."""

from collections.abc import Sequence
from typing import Any

from ganbench.backend import Array
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec

from .inplace import Kernels, Loss


class ArrayKernels(Kernels):
    """Universal functions with ``out=`` on arrays of ``xp``.

    ``piece`` is how many values Adam takes at a time: it reads four buffers in twelve passes, so a piece
    and its scratch should stay in the second-level cache. What depends on the step is kept in arrays and
    multiplied on there, so that a captured graph can count.
    """

    def __init__(self, xp: Any, dtype: Any, piece: int) -> None:
        self._xp, self._dtype, self._piece = xp, dtype, piece
        self._scratch: dict[tuple[int, ...], tuple[Array, Array]] = {}
        self._masks: dict[tuple[int, ...], Array] = {}
        self._rows: dict[tuple[int, int], Array] = {}
        self._powers = xp.ones(2, "float64")  # beta1 and beta2 to the power of the step
        self._betas = xp.ones(2, "float64")
        self._scalars = xp.ones(2, "float64")
        self._rates = xp.ones(2, dtype)  # lr and eps with both bias corrections folded in

    def empty(self, *shape: int) -> Array:
        return self._xp.empty(shape, self._dtype)

    def _two(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return scratch of that shape, allocated when first asked for."""
        if shape not in self._scratch:
            self._scratch[shape] = self.empty(*shape), self.empty(*shape)
        return self._scratch[shape]

    def _row(self, n: int, value: int) -> Array:
        """Return ``value`` n times over: as an array, NumPy's vector loops take it, and products can sum by it."""
        if (n, value) not in self._rows:
            self._rows[n, value] = self._xp.full(n, value, self._dtype)
        return self._rows[n, value]

    def _positive(self, x: Array) -> Array:
        """Return where x > 0, in memory that the next call overwrites."""
        if x.shape not in self._masks:
            self._masks[x.shape] = self._xp.empty(x.shape, bool)
        return self._xp.greater(x, 0, out=self._masks[x.shape])

    def copy(self, source: Array, target: Array) -> None:
        target[...] = self._xp.asarray(source)

    def product(self, a: Array, b: Array, out: Array) -> None:
        if a.shape[1] == 1:  # an outer product, with D's last layer, for which OpenBLAS takes ten times as long
            self._xp.multiply(a, b, out=out)
        else:
            self._xp.matmul(a, b, out=out)

    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        self._xp.matmul(x, w, out=out)
        self._xp.add(out, b, out=out)
        self.activate(activation, out)

    def activate(self, activation: str, x: Array) -> None:
        xp = self._xp
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

    def through(self, activation: str, out: Array, grad: Array) -> None:
        xp = self._xp
        if activation == "identity":
            return
        if activation == "relu":
            xp.multiply(grad, self._positive(out), out=grad)
            return
        slope, _ = self._two(out.shape)
        if activation == "leaky_relu":
            xp.multiply(self._positive(out), 1 - LEAKY_SLOPE, out=slope, dtype=self._dtype)
            xp.add(slope, LEAKY_SLOPE, out=slope)
        else:  # tanh: 1 − y²; sigmoid: y − y²
            xp.multiply(out, out, out=slope)
            xp.subtract(1 if activation == "tanh" else out, slope, out=slope)
        xp.multiply(grad, slope, out=grad)

    def column_sums(self, x: Array, out: Array) -> None:
        if x.shape[1] == 1:  # a product of two vectors, for which CuPy would allocate
            self._xp.sum(x, axis=0, out=out)
        else:
            self._xp.matmul(self._row(len(x), 1), x, out=out)

    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, running: Sequence[Array], saved: Sequence[Array], out: Array
    ) -> None:
        """Leaves x̂ in x, and 1/std in ``saved``."""
        xp, (mean, scale) = self._xp, saved
        unbiased, _ = self._two(mean.shape)
        xp.mean(x, axis=0, out=mean)
        xp.subtract(x, mean, out=x)
        xp.multiply(x, x, out=out)
        xp.mean(out, axis=0, out=scale)
        xp.multiply(scale, len(x) / (len(x) - 1), out=unbiased)
        self._mix(running[0], mean)
        self._mix(running[1], unbiased)
        xp.add(scale, BATCH_NORM_EPS, out=scale)
        xp.sqrt(scale, out=scale)
        xp.divide(1, scale, out=scale)
        xp.multiply(x, scale, out=x)
        xp.multiply(x, gamma, out=out)
        xp.add(out, beta, out=out)

    def _mix(self, old: Array, new: Array) -> None:
        _, share = self._two(new.shape)
        self._xp.multiply(new, BATCH_NORM_MOMENTUM, out=share)
        self._xp.multiply(old, 1 - BATCH_NORM_MOMENTUM, out=old)
        self._xp.add(old, share, out=old)

    def batch_norm_grad(
        self, x: Array, gamma: Array, saved: Sequence[Array], grad: Array, grad_gamma: Array, grad_beta: Array
    ) -> None:
        xp = self._xp
        product, _ = self._two(x.shape)
        mean, _ = self._two(gamma.shape)
        xp.sum(grad, axis=0, out=grad_beta)
        xp.multiply(grad, x, out=product)
        xp.sum(product, axis=0, out=grad_gamma)
        xp.divide(grad_gamma, len(x), out=mean)
        xp.multiply(x, mean, out=x)
        xp.divide(grad_beta, len(grad), out=mean)
        xp.subtract(grad, mean, out=grad)
        xp.subtract(grad, x, out=grad)
        xp.multiply(gamma, saved[1], out=mean)
        xp.multiply(grad, mean, out=grad)

    def judge(self, logits: Array, loss: Loss, value: Array, grad: Array) -> None:
        xp = self._xp
        soft, _ = self._two(logits.shape)
        xp.multiply(logits, loss.sign, out=grad)
        xp.logaddexp(0, grad, out=soft)  # softplus
        xp.sum(soft, axis=0, out=value.reshape(1))  # over both axes, CuPy would allocate
        xp.multiply(value, loss.scale, out=value)
        self.activate("sigmoid", grad)
        xp.multiply(grad, loss.slope, out=grad)

    def set_step(self, spec: GANSpec, step: int) -> None:
        betas = self._xp.asarray([spec.beta1, spec.beta2])
        self.copy(betas, self._betas)
        self.copy(betas**step, self._powers)

    def begin_step(self, spec: GANSpec) -> None:
        """Fold both bias corrections into two scalars, as section 2 of Kingma & Ba suggests."""
        xp, (quotient, root) = self._xp, (self._scalars[:1], self._scalars[1:])
        xp.multiply(self._powers, self._betas, out=self._powers)
        xp.subtract(1, self._powers, out=self._scalars)
        xp.sqrt(root, out=root)
        xp.divide(root, quotient, out=quotient)
        xp.multiply(quotient, spec.lr, out=self._rates[:1], casting="same_kind")
        xp.multiply(root, spec.eps, out=self._rates[1:], casting="same_kind")

    def adam(self, spec: GANSpec, flat: Sequence[Array]) -> None:
        xp, size = self._xp, len(flat[0])
        lr, eps = self._rates[:1], self._rates[1:]
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
