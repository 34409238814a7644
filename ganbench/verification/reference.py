"""The oracle: every operation in plain float64 NumPy, gradients derived by hand.

Written for reading, and independently of the backends: none of them may import it. Tests check it by
central finite differences and against torch autograd. It runs in a process of its own.
"""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..arithmetic import Arithmetic, Array, Arrays, GANState, NetworkState, Trained, Triple, Updated, map_arrays
from ..gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec, Layer, by_layer
from ..operation import Inputs, Operation
from ..operations.rounding import widened

SEEDS = 16  # how many are tried for one whose first iteration stays clear of every kink
KINK_MARGIN = 2e-6  # float32, for sums of 784 products; scaled for other widths and dtypes


def act(name: str, x: Array) -> Array:
    if name == "relu":
        return np.maximum(x, 0.0)
    if name == "leaky_relu":
        return np.maximum(x, LEAKY_SLOPE * x)
    if name == "tanh":
        return np.tanh(x)
    if name == "sigmoid":
        return np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x)))
    return x


def _act_slope(name: str, x: Array) -> Array:
    if name == "relu":
        return (x > 0) * 1.0
    if name == "leaky_relu":
        return (x > 0) * (1.0 - LEAKY_SLOPE) + LEAKY_SLOPE
    if name == "tanh":
        return 1.0 - np.tanh(x) ** 2
    if name == "sigmoid":
        tail = np.exp(-np.abs(x))
        return tail / (1.0 + tail) ** 2
    return np.ones_like(x)


class _NearKinkError(Exception):
    """A pre-activation lies nearer a kink than was asked for."""


class _Trace(NamedTuple):
    """What one layer's backward pass needs."""

    a_in: np.ndarray
    linear: np.ndarray
    pre: np.ndarray  # what the activation was applied to


class Reference(Arithmetic):
    """Float64 answers; remembers how near any ReLU came to its kink."""

    def __init__(self, clear_of: float = 0.0) -> None:
        self.nearest_kink = np.inf
        self._clear_of = clear_of

    def from_numpy(self, array: np.ndarray) -> Array:
        return widened(array)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array, dtype=np.float64)

    def _product(self, a: Array, b: Array) -> Array:
        """Every matrix product."""
        return a @ b

    def _stored(self, array: Array) -> Array:
        """Every array that a layer leaves for another: kept as it is."""
        return array

    def _summed(self, rows: Array) -> Array:
        """Every sum over the rows of a batch that is a gradient of a bias."""
        return rows.sum(axis=0)

    def _weight_gradient(self, delta: Array, a_in: Array) -> Array:
        return self._product(delta.T, a_in)

    def _bias_gradient(self, delta: Array) -> Array:
        return self._stored(self._summed(delta))

    def _added(self, a: Array, b: Array) -> Array:
        """The gradients of two batches as one."""
        return a + b

    def _slope(self, activation: str, pre: Array) -> Array:
        return _act_slope(activation, pre)

    def _before_relu(self, pre: Array) -> Array:
        """What a ReLU is applied to: kept as it is, but how near the kink any of it lies is remembered."""
        self.nearest_kink = min(self.nearest_kink, float(np.abs(pre).min()))
        if self.nearest_kink < self._clear_of:
            raise _NearKinkError
        return pre

    def matmul(self, a: Array, b: Array) -> Array:
        return self._product(a, b)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        return self._product(grad, b.T), self._product(a.T, grad)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        mean = x.mean(axis=0)
        var = ((x - mean) ** 2).mean(axis=0)
        return gamma * (x - mean) / np.sqrt(var + eps) + beta, mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        """Ioffe & Szegedy 2015, section 3: the chain rule through var and mean, term by term."""
        n = x.shape[0]
        mean = x.mean(axis=0)
        centred = x - mean
        var = (centred**2).mean(axis=0)
        std = np.sqrt(var + eps)
        grad_hat = grad * gamma
        grad_var = (grad_hat * centred).sum(axis=0) * -0.5 / std**3
        grad_mean = -grad_hat.sum(axis=0) / std + grad_var * (-2 * centred).mean(axis=0)
        grad_x = grad_hat / std + grad_var * 2 * centred / n + grad_mean / n
        return grad_x, (grad * centred / std).sum(axis=0), grad.sum(axis=0)

    def adam_step(self, spec: GANSpec, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        t = int(step)
        new_m = [spec.beta1 * mi + (1 - spec.beta1) * gi for mi, gi in zip(m, grads, strict=True)]
        new_v = [spec.beta2 * vi + (1 - spec.beta2) * gi**2 for vi, gi in zip(v, grads, strict=True)]
        new_params = [
            p - spec.lr * (mi / (1 - spec.beta1**t)) / (np.sqrt(vi / (1 - spec.beta2**t)) + spec.eps)
            for p, mi, vi in zip(params, new_m, new_v, strict=True)
        ]
        return new_params, new_m, new_v

    def _forward(
        self, layers: tuple[Layer, ...], params: Any, x: np.ndarray
    ) -> tuple[np.ndarray, list[_Trace], list[np.ndarray]]:
        """Return the output, each layer's trace, and (mean, var) of each batch norm."""
        traces, statistics = [], []
        for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
            linear = self._product(x, w.T)
            if layer.batch_norm:
                pre, mean, var = self.batch_norm(linear, rest[0], rest[1], BATCH_NORM_EPS)
                statistics += [mean, var]
            else:
                pre = linear + self._stored(rest[0])
            pre = self._stored(pre)
            if layer.activation in ("relu", "leaky_relu"):
                pre = self._before_relu(pre)
            traces.append(_Trace(x, linear, pre))
            x = self._stored(act(layer.activation, pre))
        return x, traces, statistics

    def _backward(
        self, layers: tuple[Layer, ...], params: Any, traces: list[_Trace], grad: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the gradient of each parameter and of the input, for ``grad`` = ∂L/∂output."""
        grads: list[np.ndarray] = []
        for layer, (w, *rest), trace in reversed(list(zip(layers, by_layer(layers, params), traces, strict=True))):
            delta = self._stored(grad * self._slope(layer.activation, trace.pre))
            if layer.batch_norm:
                delta, grad_gamma, grad_beta = self.batch_norm_grad(
                    trace.linear, rest[0], rest[1], BATCH_NORM_EPS, delta
                )
                delta = self._stored(delta)
                grads = [self._weight_gradient(delta, trace.a_in), grad_gamma, grad_beta, *grads]
            else:
                grads = [self._weight_gradient(delta, trace.a_in), self._bias_gradient(delta), *grads]
            grad = self._product(delta, w)
        return grads, grad

    def generator_forward(self, spec: GANSpec, params: Any, z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[0]

    def discriminator_forward(self, spec: GANSpec, params: Any, x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[0]

    def gan_iteration(self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array) -> Trained:
        """Goodfellow et al. 2014, algorithm 1 with one D step, losses written on logits."""
        g, d, step = state.generator, state.discriminator, int(state.step) + 1
        g_layers, d_layers = spec.generator_layers, spec.discriminator_layers

        # Step on D: mean softplus(-D(real)) + mean softplus(D(fake)).
        fake, _, statistics = self._forward(g_layers, g.params, z_d)
        running = _update_running(g.running, statistics, spec.batch)
        logit_real, trace_real, _ = self._forward(d_layers, d.params, real)
        logit_fake, trace_fake, _ = self._forward(d_layers, d.params, fake)
        d_loss = np.logaddexp(0, -logit_real).mean() + np.logaddexp(0, logit_fake).mean()
        grads_real, _ = self._backward(d_layers, d.params, trace_real, -act("sigmoid", -logit_real) / spec.batch)
        grads_fake, _ = self._backward(d_layers, d.params, trace_fake, act("sigmoid", logit_fake) / spec.batch)
        grads = [self._added(a, b) for a, b in zip(grads_real, grads_fake, strict=True)]
        d = NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), d.running)

        # Step on G, against the updated D.
        images, g_traces, statistics = self._forward(g_layers, g.params, z_g)
        running = _update_running(running, statistics, spec.batch)
        logit, d_traces, _ = self._forward(d_layers, d.params, images)
        if spec.loss == "non-saturating":
            g_loss = np.logaddexp(0, -logit).mean()
            grad_logit = -act("sigmoid", -logit) / spec.batch
        else:
            g_loss = -np.logaddexp(0, logit).mean()
            grad_logit = -act("sigmoid", logit) / spec.batch
        _, grad_images = self._backward(d_layers, d.params, d_traces, grad_logit)
        grads, _ = self._backward(g_layers, g.params, g_traces, grad_images)
        g = NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), running)
        return GANState(g, d, np.int32(step)), d_loss, g_loss


def _update_running(running: list[Any], statistics: list[np.ndarray], batch: int) -> list[np.ndarray]:
    """Mix new statistics in, the variance unbiased, as ``torch.nn.BatchNorm1d`` does."""
    unbiased = [stat * (batch / (batch - 1) if index % 2 else 1.0) for index, stat in enumerate(statistics)]
    return [
        (1 - BATCH_NORM_MOMENTUM) * old + BATCH_NORM_MOMENTUM * new for old, new in zip(running, unbiased, strict=True)
    ]


def kink_margin(operation: Operation, dtype: str) -> float:
    """Return the distance from zero at which rounding in ``dtype`` can no longer flip a ReLU."""
    spec = operation.spec
    widest = max(*spec.generator[:-1], *spec.discriminator[:-1])
    rounding = np.finfo(dtype).eps / np.finfo(np.float32).eps
    return float(KINK_MARGIN * rounding * np.sqrt(widest / 784))


def draw(operation: Operation, dtype: str, images: np.ndarray, first: int = 0) -> tuple[int, Inputs]:
    """Return the first seed from ``first`` on whose first iteration stays clear of every kink, and its inputs.

    Where none of ``SEEDS`` does, it is the one that stays farthest. If rounding flips one ReLU, Adam's first step
    changes sign and moves those weights by 2·lr: what a gate can see would be much less.
    """
    best, farthest = first, 0.0
    for seed in range(first, first + SEEDS):
        inputs, reference = operation.inputs(seed, dtype, images), Reference(clear_of=farthest)
        if not operation.stateful:
            return seed, inputs
        with contextlib.suppress(_NearKinkError):
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
