"""What NumPy and CuPy share beside the mathematics of ``by_hand``: single operations, and what is done in place.

In-place buffers, fused kernels and graphs are modes of their own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Triple, Updated
from ganbench.backend import Array, Backend
from ganbench.gan import LEAKY_SLOPE, GANSpec

from .by_hand import ByHand
from .windows import Windows


class ArrayBackend(Windows, ByHand, Backend):
    """Every operation on arrays of the module ``self.xp``: numpy or cupy."""

    def from_numpy(self, array: np.ndarray) -> Array:
        """Images and their weights lie in memory with their channels last, as every map takes them."""
        if array.ndim != 4:
            return self.xp.array(array)
        return self.xp.moveaxis(self.xp.array(np.ascontiguousarray(np.moveaxis(array, 1, -1))), -1, 1)

    def matmul_into(self, a: Array, b: Array, out: Array) -> Array:
        return self.xp.matmul(a, b, out=out)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        mean = self._column_sums(x, gamma.dtype) / len(x)
        centred = x - mean
        var = self._column_sums(centred * centred, gamma.dtype) / len(x)
        centred *= gamma / self.xp.sqrt(var + eps)
        centred += beta
        return self._cast(centred, x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        x_hat, _, _, scale = self._normalise(x, gamma.dtype, eps)
        return self._normalised_grad(x_hat, scale, gamma, grad)

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Both bias corrections folded into two scalars, as section 2 of Kingma & Ba suggests."""
        root = (1 - spec.beta2 ** int(step)) ** 0.5
        lr = spec.lr * root / (1 - spec.beta1 ** int(step))
        # The complements as arguments: in a fused kernel, CuPy 14 would take 1 - beta in float16.
        scalars = spec.beta1, 1 - spec.beta1, spec.beta2, 1 - spec.beta2, lr, spec.eps * root
        for p, g, mi, vi in zip(params, grads, m, v, strict=True):
            self._adam(p, self._cast(g, p.dtype), mi, vi, *scalars)
        return list(params), list(m), list(v)

    def _adam(
        self, p: Array, g: Array, m: Array, v: Array,
        beta1: float, rest1: float, beta2: float, rest2: float, lr: float, eps: float,
    ) -> None:  # fmt: skip
        m *= beta1
        m += rest1 * g
        v *= beta2
        v += rest2 * (g * g)
        denominator = self.xp.sqrt(v)
        denominator += eps
        p -= lr * m / denominator

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[-1]

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[-1]

    def _cast(self, array: Array, dtype: Any) -> Array:
        return array if array.dtype == dtype else array.astype(dtype)

    def _activate(self, name: str, x: Array) -> Array:
        """In place where the library can."""
        if name == "relu":
            return self.xp.maximum(x, 0, out=x)
        if name == "leaky_relu":
            return self.xp.maximum(x, LEAKY_SLOPE * x, out=x)
        if name == "tanh":
            return self.xp.tanh(x, out=x)
        return self._sigmoid(x) if name == "sigmoid" else x

    def _sigmoid(self, x: Array) -> Array:
        """As ½ (1 + tanh(x/2)), which cannot overflow."""
        x = self.xp.tanh(0.5 * x)
        x += 1
        x *= 0.5
        return x

    def _softplus(self, x: Array) -> Array:
        return self.xp.logaddexp(0, x)
