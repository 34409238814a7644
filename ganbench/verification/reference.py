"""The oracle: every operation in plain float64 NumPy, gradients derived by hand.

It is written to be read, and independently of the backends, which may not import it. Tests check it with central finite
differences and against PyTorch's autograd. It runs in a process of its own.
"""

from typing import Any, NamedTuple

import numpy as np

from ..array_ops import (
    AdamSettings,
    Array,
    ArrayOps,
    Arrays,
    GANState,
    NetworkState,
    Trained,
    Triple,
    Updated,
    steps_on_d,
)
from ..gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, GANSpec
from ..layers import Layer, OnImages, by_layer, weights
from ..losses import Terms
from ..operations.rounding import widened
from .functions import PHI, act, act_curvature, act_slope
from .maps import NumpyMaps, by_channel, like


class NearKinkError(Exception):
    """A pre-activation lies nearer a kink than was asked for."""


class _Trace(NamedTuple):
    """What one layer's backward pass needs."""

    a_in: np.ndarray
    linear: np.ndarray
    pre: np.ndarray  # what the activation was applied to


class Reference(ArrayOps):
    """The operations in float64; ``nearest_kink`` is the smallest distance of any ReLU from its kink."""

    def __init__(self, clear_of: float = 0.0) -> None:
        self.nearest_kink, self._clear_of = np.inf, clear_of
        self._maps = NumpyMaps(self._product)

    def from_numpy(self, array: np.ndarray) -> Array:
        return widened(array)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.array(array, dtype=np.float64)

    def _product(self, a: Array, b: Array) -> Array:
        """Every matrix product."""
        return a @ b

    def _stored(self, array: Array) -> Array:
        """Every array that a layer leaves for another."""
        return array

    def _mean(self, rows: Array) -> Array:
        """Every mean over rows that is a statistic of batch norm."""
        return rows.mean(axis=0)

    def _summed(self, rows: Array) -> Array:
        """Every sum over the rows of a batch that is a gradient of a bias."""
        return rows.sum(axis=0)

    def _weight_grad(self, layer: Layer, x: Array, delta: Array) -> Array:
        return layer.weight_grad(x, delta, self._maps)

    def _bias_grad(self, delta: Array) -> Array:
        return self._stored(self._summed(by_channel(delta)))

    def _added(self, a: Array, b: Array) -> Array:
        """The gradients of two batches as one."""
        return a + b

    def _act(self, activation: str, pre: Array) -> Array:
        """Every activation of a layer."""
        return act(activation, pre)

    def _phi(self, name: str, t: Array) -> tuple[Array, Array]:
        """A term of a loss, and its slope."""
        return PHI[name](t)

    def _slope(self, activation: str, pre: Array) -> Array:
        return act_slope(activation, pre)

    def _total(self, terms: Array, more: Any = 0.0) -> Array:
        """Every sum of terms that may cancel, where a loss is linear, and what is added to it."""
        return terms.sum() + more

    def _norms(self, rows: Array) -> Array:
        """The norm of each row of a gradient; it has a kink at 0, but rows that are 0 all over stay clear of it."""
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        self._note_kink(norms[norms > 0])
        return norms

    def _drifted(self, g_loss: Array, params: Any, grads: Any) -> Array:
        """Return g_loss, given how it depends on the parameters of a D, of which some have hardly a gradient."""
        return g_loss

    def _read(self, params: Any) -> list[Array]:
        """Return parameters that are to be computed with, given as ``adam_step`` returned them."""
        return list(params)

    def _before_relu(self, pre: Array) -> Array:
        """What a ReLU is applied to: kept as it is, but how near the kink any of it lies is remembered."""
        self._note_kink(np.abs(pre))
        return pre

    def _note_kink(self, distances: Array) -> None:
        self.nearest_kink = min(self.nearest_kink, float(distances.min(initial=np.inf)))
        if self.nearest_kink < self._clear_of:
            raise NearKinkError

    def matmul(self, a: Array, b: Array) -> Array:
        return self._product(a, b)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        return self._product(grad, b.T), self._product(a.T, grad)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return self._stored(layer.forward(x, w, self._maps))

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        return self._stored(layer.input_grad(grad, w, self._maps)), layer.weight_grad(x, grad, self._maps)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        mean = self._mean(x)
        var = self._mean((x - mean) ** 2)
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

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        t = int(step)
        new_m = [spec.beta1 * mi + (1 - spec.beta1) * gi for mi, gi in zip(m, grads, strict=True)]
        new_v = [spec.beta2 * vi + (1 - spec.beta2) * gi**2 for vi, gi in zip(v, grads, strict=True)]
        new_params = [
            p - spec.lr * (mi / (1 - spec.beta1**t)) / (np.sqrt(vi / (1 - spec.beta2**t)) + spec.eps)
            for p, mi, vi in zip(params, new_m, new_v, strict=True)
        ]
        return new_params, new_m, new_v

    def _forward(self, layers: tuple[Layer, ...], params: Any, x: Array) -> tuple[Array, list[_Trace], list[Array]]:
        """Return the output, each layer's trace, and (mean, unbiased var) of each batch norm.

        Statistics of an image are those of its channels: each pixel is a row.
        """
        traces, statistics = [], []
        for layer, own in zip(layers, by_layer(layers, self._read(params)), strict=True):
            w, *rest = own or (None,)
            linear = pre = layer.forward(x, w, self._maps)
            if not own:
                traces.append(_Trace(x, linear, linear))
                x = linear
                continue
            if layer.batch_norm:
                rows = by_channel(linear)
                pre, mean, var = self.batch_norm(rows, rest[0], rest[1], BATCH_NORM_EPS)
                pre = like(pre, linear)
                statistics += [mean, var * (len(rows) / (len(rows) - 1))]
            elif layer.bias:
                pre = like(by_channel(linear) + self._stored(rest[0]), linear)
            pre = self._stored(pre)
            if layer.activation in ("relu", "leaky_relu"):
                pre = self._before_relu(pre)
            traces.append(_Trace(x, linear, pre))
            x = self._stored(self._act(layer.activation, pre))
        return x, traces, statistics

    def _backward(
        self, layers: tuple[Layer, ...], params: Any, traces: list[_Trace], grad: Array, of_weights: bool = True,
        of_input: bool = False,
    ) -> tuple[list[Array], Array]:  # fmt: skip
        """Return the gradient of each parameter and of the input, for ``grad`` = ∂L/∂output, if they are wanted."""
        params, grads = self._read(params), list[Array]()
        for layer, own, trace in reversed(list(zip(layers, by_layer(layers, params), traces, strict=True))):
            w, *rest = own or (None,)
            if not own:
                grad = layer.input_grad(grad, w, self._maps)
                continue
            delta, of_rest = self._stored(grad * self._slope(layer.activation, trace.pre)), list[Array]()
            if layer.batch_norm:
                rows, above = by_channel(trace.linear), by_channel(delta)
                rows, *of_rest = self.batch_norm_grad(rows, rest[0], rest[1], BATCH_NORM_EPS, above)
                delta = self._stored(like(rows, delta))
            elif layer.bias:
                of_rest = [self._bias_grad(delta)]
            of_weight = [self._weight_grad(layer, trace.a_in, delta)] if of_weights else []
            grads = [*of_weight, *of_rest, *grads]
            if len(grads) == len(params) and not of_input:
                break
            grad = layer.input_grad(delta, w, self._maps)
        return grads, grad

    def generator_forward(self, spec: GANSpec, params: Any, z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[0]

    def discriminator_forward(self, spec: GANSpec, params: Any, x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[0]

    def _loss(self, terms: Terms, blocks: list[Array], more: Any = 0.0) -> tuple[Array, list[Array]]:
        """Return a loss of blocks of logits (B, 1), with ``more`` added, and its gradient by each block."""
        b, values, grads = len(blocks[0]), [], []
        for sign, shift, logits in zip(terms.signs, terms.shifts, blocks, strict=True):
            t = sign * logits + shift
            if terms.phi == "relu":
                t = self._before_relu(t)
            value, slope = self._phi(terms.phi, t)
            values.append(value)
            grads.append(terms.weight * sign * slope / b)
        if terms.linear:
            return self._total(np.concatenate(values[::-1]) / b, more), grads
        return terms.weight * sum(value.mean() for value in values) + more, grads

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        """Goodfellow et al. 2014, algorithm 1; with a penalty, Gulrajani et al. 2017, algorithm 1."""
        (g, d), step, taken = state[:2], int(state.step), int(state.step) * spec.critic_steps
        for one in steps_on_d(spec, real, z_d, u):
            taken += 1
            g, d, *losses = self._step_on_discriminator(spec, g, d, *one, taken)
        g, d, g_loss = self._step_on_generator(spec, g, d, z_g, step + 1)
        return GANState(g, d, np.int32(step + 1)), losses[0], g_loss, *losses[1:]

    def _step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: int
    ) -> tuple[Any, ...]:
        """Return G, whose running statistics have moved, D after one step, its loss and the penalty in it."""
        layers = spec.discriminator_layers
        fake, _, statistics = self._forward(spec.generator_layers, g.params, z)
        g = _mixed(g, statistics)
        penalty, grads_mixed = None, None
        if u is not None:
            penalty, grads_mixed = self._penalty(spec, d.params, self._stored(u * real + (1 - u) * fake))
        logit_real, trace_real, statistics = self._forward(layers, d.params, real)
        d = _mixed(d, statistics)
        logit_fake, trace_fake, statistics = self._forward(layers, d.params, fake)
        d = _mixed(d, statistics)
        d_loss, (on_real, on_fake) = self._loss(spec.objective.d, [logit_real, logit_fake], penalty or 0.0)
        grads, _ = self._backward(layers, d.params, trace_real, on_real)
        grads_fake, _ = self._backward(layers, d.params, trace_fake, on_fake)
        for more in (grads_fake, grads_mixed):
            grads = grads if more is None else [self._added(one, other) for one, other in zip(grads, more, strict=True)]
        d = NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), d.running)
        return (g, d, d_loss) if penalty is None else (g, d, d_loss, penalty)

    def _step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z_g: Array, step: int
    ) -> tuple[NetworkState, NetworkState, Array]:
        """Return G after one step against the updated D, D, whose running statistics have moved, and G's loss."""
        g_layers, d_layers = spec.generator_layers, spec.discriminator_layers
        images, g_traces, statistics = self._forward(g_layers, g.params, z_g)
        running = _mixed(g, statistics).running
        logit, d_traces, statistics = self._forward(d_layers, d.params, images)
        g_loss, (grad_logit,) = self._loss(spec.objective.g, [logit])
        grads, grad = self._backward(d_layers, d.params, d_traces, grad_logit, spec.objective.cancels, of_input=True)
        if spec.objective.cancels:
            g_loss = self._drifted(g_loss, d.params, grads)
        grads, _ = self._backward(g_layers, g.params, g_traces, grad)
        g = NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), running)
        return g, _mixed(d, statistics), g_loss

    def penalty_grad(self, spec: GANSpec, params: Any, x: Array) -> list[Array]:
        return self._penalty(spec, params, x)[1]

    def _penalty(self, spec: GANSpec, params: Any, x: Array) -> tuple[Array, list[Array]]:
        """Return the penalty at rows ``x`` and its gradient for D's parameters; docs/workload.md has the names."""
        layers, of_layers = spec.discriminator_layers, weights(spec.discriminator_layers, self._read(params))
        _, traces, _ = self._forward(layers, params, x)
        slopes = [self._slope(layer.activation, trace.pre) for layer, trace in zip(layers, traces, strict=True)]
        g, down = np.ones((len(x), 1)), []
        for layer, w, slope in reversed(list(zip(layers, of_layers, slopes, strict=True))):
            p = self._stored(g * slope)
            down.append((g, p))
            g = layer.input_grad(p, w, self._maps)
        norms = self._norms(g)
        penalty = spec.penalty * np.square(norms - 1).mean()
        shrunk = np.where(norms > 0, 1 - 1 / np.where(norms > 0, norms, 1), 0)
        gamma = self._stored(2 * spec.penalty / len(x) * shrunk * g)
        grads, curved = [], []  # of the weights, and of what the activations are applied to
        for layer, w, slope, trace, (g, p) in zip(layers, of_layers, slopes, traces, reversed(down), strict=True):
            grads.append(None if w is None else self._weight_grad(layer, gamma, p))
            pi = layer.forward(gamma, w, self._maps)
            curved.append(self._stored(pi * g * act_curvature(layer.activation, trace.pre, slope)))
            gamma = self._stored(pi * slope)
        found: list[Array] = []
        above = np.zeros((len(x), 1))
        parts = zip(layers, of_layers, slopes, curved, traces, grads, strict=True)
        for layer, w, slope, of_slope, trace, grad in reversed(list(parts)):
            delta = self._stored(above * slope) + of_slope
            if w is not None:
                of_weights = self._added(grad, self._weight_grad(layer, trace.a_in, delta))
                found = [of_weights, *[self._bias_grad(delta)] * layer.bias, *found]
            above = layer.input_grad(delta, w, self._maps)
        return penalty, found


def _mixed(network: NetworkState, statistics: list[np.ndarray]) -> NetworkState:
    """Return a network with new statistics mixed in, as ``torch.nn.BatchNorm1d`` does."""
    pairs = zip(network.running, statistics, strict=True)
    return network._replace(running=[(1 - BATCH_NORM_MOMENTUM) * old + BATCH_NORM_MOMENTUM * new for old, new in pairs])
