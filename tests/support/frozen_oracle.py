"""The oracle's arithmetic as it was when there were three losses, each written out: never changed since.

It shares no code with ganbench, only its model's plain numbers. Computed in the same process and on the same processor,
its bits are those that today's oracle must give.
"""

import math
from itertools import pairwise

import numpy as np

EPS, MOMENTUM, SLOPE = 1e-5, 0.1, 0.2
BATCHES = 8


def sigmoid(x):
    return np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x)))


def activation(name, x):
    named = {"relu": lambda: np.maximum(x, 0.0), "leaky_relu": lambda: np.maximum(x, SLOPE * x)}
    named |= {"tanh": lambda: np.tanh(x), "sigmoid": lambda: sigmoid(x), "identity": lambda: x}
    return named[name]()


def slope(name, x):
    if name == "relu":
        return (x > 0) * 1.0
    if name == "leaky_relu":
        return (x > 0) * (1.0 - SLOPE) + SLOPE
    if name == "tanh":
        return 1.0 - np.tanh(x) ** 2
    if name == "sigmoid":
        tail = np.exp(-np.abs(x))
        return tail / (1.0 + tail) ** 2
    return np.ones_like(x)


def curvature(name, x):
    if name == "tanh":
        return -2.0 * np.tanh(x) * slope(name, x)
    return (1.0 - 2.0 * sigmoid(x)) * slope(name, x) if name == "sigmoid" else np.zeros_like(x)


class Model:
    """One model's networks, each a list of (n_in, n_out, activation, batch norm)."""

    def __init__(self, spec):
        self.spec = spec
        last = len(spec.generator) - 2
        self.g, self.d = (
            [(*widths, name, norm and index < last) for index, (widths, name) in enumerate(listed)]
            for norm, listed in (
                (spec.batch_norm, zip(pairwise(spec.generator), spec.generator_activations, strict=False)),
                (False, zip(pairwise(spec.discriminator), spec.discriminator_activations, strict=False)),
            )
        )

    # Inputs -------------------------------------------------------------------------------------------

    def state(self, rng, dtype):
        """Return (params, m, v, running) of G and D."""
        networks = []
        for layers in (self.g, self.d):
            params, running = [], []
            for n_in, n_out, _, norm in layers:
                bound = 1 / math.sqrt(n_in)
                params.append(rng.uniform(-bound, bound, (n_out, n_in)).astype(dtype))
                if norm:
                    params += [np.ones(n_out, dtype), np.zeros(n_out, dtype)]
                    running += [np.zeros(n_out, dtype), np.ones(n_out, dtype)]
                else:
                    params.append(rng.uniform(-bound, bound, n_out).astype(dtype))
            networks.append((params, [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], running))
        return networks

    def inputs(self, seed, dtype, images):
        """Return the state and the eight batches drawn from ``seed``."""
        rng, spec = np.random.default_rng(seed), self.spec
        b, steps = spec.batch, spec.critic_steps
        networks = self.state(rng, dtype)
        staged = list(images.astype(dtype).reshape(BATCHES, b, -1))
        batches = []
        for turn in range(BATCHES):
            if spec.loss == "wgan-gp":
                real = np.stack([staged[(turn * steps + step) % BATCHES] for step in range(steps)])
                z_d = rng.standard_normal((steps, b, spec.generator[0])).astype(dtype)
                z_g = rng.standard_normal((b, spec.generator[0])).astype(dtype)
                batches.append((real, z_d, z_g, rng.uniform(size=(steps, b, 1)).astype(dtype)))
            else:
                noise = (rng.standard_normal((b, spec.generator[0])).astype(dtype) for _ in range(2))
                batches.append((staged[turn], *noise))
        return networks, batches

    # Networks -----------------------------------------------------------------------------------------

    def forward(self, layers, params, x):
        traces, statistics, params = [], [], iter(params)
        for _, _, name, norm in layers:
            w, entered = next(params), x
            linear = x @ w.T
            if norm:
                gamma, beta = next(params), next(params)
                mean = linear.mean(axis=0)
                var = ((linear - mean) ** 2).mean(axis=0)
                pre = gamma * (linear - mean) / np.sqrt(var + EPS) + beta
                statistics += [mean, var]
                traces.append((entered, linear, pre, w, gamma))
            else:
                pre = linear + next(params)
                traces.append((entered, linear, pre, w, None))
            x = activation(name, pre)
        return x, traces, statistics

    def backward(self, layers, traces, grad):
        grads = []
        for (_, _, name, norm), (entered, linear, pre, w, gamma) in zip(
            reversed(layers), reversed(traces), strict=True
        ):
            delta = grad * slope(name, pre)
            if norm:
                n, mean = len(linear), linear.mean(axis=0)
                centred = linear - mean
                std = np.sqrt((centred**2).mean(axis=0) + EPS)
                hat = delta * gamma
                grad_var = (hat * centred).sum(axis=0) * -0.5 / std**3
                grad_mean = -hat.sum(axis=0) / std + grad_var * (-2 * centred).mean(axis=0)
                found = [(delta * centred / std).sum(axis=0), delta.sum(axis=0)]
                delta = hat / std + grad_var * 2 * centred / n + grad_mean / n
            else:
                found = [delta.sum(axis=0)]
            grads = [delta.T @ entered, *found, *grads]
            grad = delta @ w
        return grads, grad

    def adam(self, params, grads, m, v, t):
        beta1, beta2, lr, eps = self.spec.beta1, self.spec.beta2, self.spec.lr, self.spec.eps
        m = [beta1 * mi + (1 - beta1) * gi for mi, gi in zip(m, grads, strict=True)]
        v = [beta2 * vi + (1 - beta2) * gi**2 for vi, gi in zip(v, grads, strict=True)]
        moved = zip(params, m, v, strict=True)
        return [p - lr * (mi / (1 - beta1**t)) / (np.sqrt(vi / (1 - beta2**t)) + eps) for p, mi, vi in moved], m, v

    def mix(self, running, statistics):
        b = self.spec.batch
        unbiased = [stat * (b / (b - 1) if index % 2 else 1.0) for index, stat in enumerate(statistics)]
        return [(1 - MOMENTUM) * old + MOMENTUM * new for old, new in zip(running, unbiased, strict=True)]

    # Iterations ---------------------------------------------------------------------------------------

    def iterate(self, networks, step, batch):
        """Return the networks and what is reported after iteration ``step``, counted from 0."""
        return (self._wasserstein if self.spec.loss == "wgan-gp" else self._logistic)(networks, step, *batch)

    def _logistic(self, networks, step, real, z_d, z_g):
        (g, gm, gv, running), (d, dm, dv, _) = networks
        b = self.spec.batch
        fake, _, statistics = self.forward(self.g, g, z_d)
        running = self.mix(running, statistics)
        on_real, trace_real, _ = self.forward(self.d, d, real)
        on_fake, trace_fake, _ = self.forward(self.d, d, fake)
        d_loss = np.logaddexp(0, -on_real).mean() + np.logaddexp(0, on_fake).mean()
        grads_real, _ = self.backward(self.d, trace_real, -sigmoid(-on_real) / b)
        grads_fake, _ = self.backward(self.d, trace_fake, sigmoid(on_fake) / b)
        d, dm, dv = self.adam(
            d, [one + other for one, other in zip(grads_real, grads_fake, strict=True)], dm, dv, step + 1
        )
        generator, g_loss = self._step_on_generator((g, gm, gv, running), d, z_g, step)
        return [generator, (d, dm, dv, [])], (d_loss, g_loss)

    def _step_on_generator(self, network, d, z_g, step):
        (g, m, v, running), b = network, self.spec.batch
        images, g_traces, statistics = self.forward(self.g, g, z_g)
        running = self.mix(running, statistics)
        logit, d_traces, _ = self.forward(self.d, d, images)
        if self.spec.loss == "non-saturating":
            g_loss, grad = np.logaddexp(0, -logit).mean(), -sigmoid(-logit) / b
        elif self.spec.loss == "saturating":
            g_loss, grad = -np.logaddexp(0, logit).mean(), -sigmoid(logit) / b
        else:
            g_loss, grad = (-logit / b).sum() + 0.0, np.full_like(logit, -1 / b)
        _, grad_images = self.backward(self.d, d_traces, grad)
        grads, _ = self.backward(self.g, g_traces, grad_images)
        return (*self.adam(g, grads, m, v, step + 1), running), g_loss

    def _wasserstein(self, networks, step, real, z_d, z_g, u):
        (g, gm, gv, running), (d, dm, dv, _) = networks
        b, steps = self.spec.batch, self.spec.critic_steps
        for turn in range(steps):
            fake, _, statistics = self.forward(self.g, g, z_d[turn])
            running = self.mix(running, statistics)
            penalty, grads_mixed = self.penalty(u[turn] * real[turn] + (1 - u[turn]) * fake, d)
            on_real, trace_real, _ = self.forward(self.d, d, real[turn])
            on_fake, trace_fake, _ = self.forward(self.d, d, fake)
            d_loss = (np.concatenate([on_fake, -on_real]) / b).sum() + penalty
            grads_real, _ = self.backward(self.d, trace_real, np.full_like(on_real, -1 / b))
            grads_fake, _ = self.backward(self.d, trace_fake, np.full_like(on_fake, 1 / b))
            grads = [one + other + mixed for one, other, mixed in zip(grads_real, grads_fake, grads_mixed, strict=True)]
            d, dm, dv = self.adam(d, grads, dm, dv, step * steps + turn + 1)
        generator, g_loss = self._step_on_generator((g, gm, gv, running), d, z_g, step)
        return [generator, (d, dm, dv, [])], (d_loss, g_loss, penalty)

    def penalty(self, x, d):
        """Return the penalty at rows ``x`` and its gradient for D's parameters ``d``."""
        weight, names = self.spec.penalty, [name for _, _, name, _ in self.d]
        _, traces, _ = self.forward(self.d, d, x)
        slopes = [slope(name, trace[2]) for name, trace in zip(names, traces, strict=True)]
        weights = d[::2]
        g, down = np.ones((len(x), 1)), []
        for w, one in zip(reversed(weights), reversed(slopes), strict=True):
            down.append((g, g * one))
            g = down[-1][1] @ w
        norms = np.sqrt(np.square(g).sum(axis=1, keepdims=True))
        shrunk = np.where(norms > 0, 1 - 1 / np.where(norms > 0, norms, 1), 0)
        gamma = 2 * weight / len(x) * shrunk * g
        grads, bends = [], []
        for name, w, one, trace, (g, p) in zip(names, weights, slopes, traces, reversed(down), strict=True):
            grads.append(p.T @ gamma)
            pi = gamma @ w.T
            bends.append(pi * g * curvature(name, trace[2]))
            gamma = pi * one
        found, above = [], np.zeros((len(x), 1))
        for w, one, bend, trace, grad in reversed(list(zip(weights, slopes, bends, traces, grads, strict=True))):
            delta = above * one + bend
            found = [grad + delta.T @ trace[0], delta.sum(axis=0), *found]
            above = delta @ w
        return weight * np.square(norms - 1).mean(), found
