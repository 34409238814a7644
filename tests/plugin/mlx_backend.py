"""MLX, a lazy framework, as its author may write it at first: ``synchronize`` is all that knows of laziness."""

from typing import ClassVar

import mlx.core as mx
import numpy as np

from ganbench.array_ops import arrays
from ganbench.backend import Backend
from ganbench.errors import UnsupportedError
from ganbench.layers import by_layer


class MlxBackend(Backend):
    name = "mlx"
    modes: ClassVar[dict[str, str]] = {"plain": "calls of mlx.core"}
    device_kinds = ("cpu",)
    formats = ("float32",)
    module, distributions, install = "mlx", ("mlx",), "pip install mlx mlx-cpu"

    def from_numpy(self, array):
        return mx.array(array)

    def to_numpy(self, array):
        return np.array(array)

    def synchronize(self, result=None):
        mx.eval(*arrays(result))

    def matmul(self, a, b):
        return a @ b

    def matmul_grad(self, a, b, grad):
        return grad @ b.T, a.T @ grad

    def batch_norm(self, x, gamma, beta, eps):
        mean, var = x.mean(axis=0), x.var(axis=0)
        return (x - mean) * (gamma * mx.rsqrt(var + eps)) + beta, mean, var

    def batch_norm_grad(self, x, gamma, beta, eps, grad):
        raise UnsupportedError("not written yet")

    def adam_step(self, spec, params, grads, m, v, step):
        correct1, correct2 = 1 - spec.beta1**step, 1 - spec.beta2**step
        m = [spec.beta1 * mi + (1 - spec.beta1) * g for mi, g in zip(m, grads, strict=True)]
        v = [spec.beta2 * vi + (1 - spec.beta2) * g * g for vi, g in zip(v, grads, strict=True)]
        parts = zip(params, m, v, strict=True)
        return [p - spec.lr * (mi / correct1) / (mx.sqrt(vi / correct2) + spec.eps) for p, mi, vi in parts], m, v

    def generator_forward(self, spec, params, z):
        act = {"relu": lambda x: mx.maximum(x, 0), "sigmoid": mx.sigmoid}
        for layer, (w, b) in zip(spec.generator_layers, by_layer(spec.generator_layers, params), strict=True):
            z = act[layer.activation](z @ w.T + b)
        return z

    def discriminator_forward(self, spec, params, x):
        raise UnsupportedError("not written yet")

    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        raise UnsupportedError("not written yet")
