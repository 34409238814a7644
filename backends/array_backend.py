"""The hand-derived mathematics that NumPy and CuPy share, written once against ``xp``.

Both libraries offer the same arrays without automatic differentiation, so the gradients are written out.
What is written here is what a competent user of either would write: the fake batch is not differentiated
in the D step, D's weight gradients are not computed in the G step, and temporaries are reused where that
costs no clarity. In-place buffers, fused kernels and graphs are modes of their own. Where halves flow through
the layers, whatever is summed over a batch is summed in the dtype of the parameters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Trained, TrainedCritic, Triple, Updated
from ganbench.backend import Array, Backend, GANState, NetworkState
from ganbench.gan import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    CURVED,
    DEFAULTS,
    LEAKY_SLOPE,
    GANSpec,
    Layer,
    by_layer,
    working,
)


class ArrayBackend(Backend):
    """Every operation on arrays of the module ``self.xp``."""

    xp: Any  # numpy or cupy
    losses = tuple(DEFAULTS)

    def from_numpy(self, array: np.ndarray) -> Array:
        return self.xp.array(array)

    def matmul(self, a: Array, b: Array) -> Array:
        return a @ b

    def matmul_into(self, a: Array, b: Array, out: Array) -> Array:
        return self.xp.matmul(a, b, out=out)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        return grad @ b.T, a.T @ grad

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        mean = x.mean(axis=0, dtype=gamma.dtype)
        centred = x - mean
        var = (centred * centred).mean(axis=0)
        centred *= gamma / self.xp.sqrt(var + eps)
        centred += beta
        return _cast(centred, x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        """With x̂ = (x − mean)/std: ∂L/∂x = gamma/std · (grad − mean(grad) − x̂ · mean(grad · x̂))."""
        dtype, grad = x.dtype, _cast(grad, gamma.dtype)
        x_hat = x - x.mean(axis=0, dtype=gamma.dtype)
        scale = 1 / self.xp.sqrt((x_hat * x_hat).mean(axis=0) + eps)
        x_hat *= scale
        grad_beta = grad.sum(axis=0)
        grad_gamma = (grad * x_hat).sum(axis=0)
        x_hat *= grad_gamma / len(x)
        grad_x = grad - grad_beta / len(x)
        grad_x -= x_hat
        grad_x *= gamma * scale
        return _cast(grad_x, dtype), grad_gamma, grad_beta

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Both bias corrections folded into two scalars, as section 2 of Kingma & Ba suggests."""
        root = (1 - spec.beta2 ** int(step)) ** 0.5
        lr = spec.lr * root / (1 - spec.beta1 ** int(step))
        eps = spec.eps * root
        for p, g, mi, vi in zip(params, grads, m, v, strict=True):
            g = _cast(g, p.dtype)
            mi *= spec.beta1
            mi += (1 - spec.beta1) * g
            vi *= spec.beta2
            vi += (1 - spec.beta2) * (g * g)
            denominator = self.xp.sqrt(vi)
            denominator += eps
            p -= lr * mi / denominator
        return list(params), list(m), list(v)

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)[-1]

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)[-1]

    def gan_iteration(self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array) -> Trained:
        g, d, step = state.generator, state.discriminator, state.step + 1
        g_layers, d_layers = spec.generator_layers, spec.discriminator_layers
        kept = d.params[0].dtype

        def flowing(array: Array) -> Array:
            return _cast(array, real.dtype)

        fake = self._forward(g_layers, working(g_layers, g.params, flowing), z_d, g.running)[-1]
        weights = working(d_layers, d.params, flowing)
        judged = self._forward(d_layers, weights, self.xp.concatenate([real, fake]))
        logits = _cast(judged[-1], kept)
        on_real, on_fake = logits[: spec.batch], logits[spec.batch :]
        d_loss = self._softplus(-on_real).mean() + self._softplus(on_fake).mean()
        grad = self.xp.concatenate([-self._sigmoid(-on_real), self._sigmoid(on_fake)])
        grad /= spec.batch
        grads = self._backward(d_layers, weights, judged, flowing(grad), kept)
        d = NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), d.running)
        g, g_loss = self._step_on_generator(spec, g, d, z_g, step)
        return GANState(g, d, step), d_loss, g_loss

    def _step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z_g: Array, step: Any
    ) -> tuple[NetworkState, Array]:
        """Return G after one step against the updated D, and its loss."""
        g_layers, d_layers, kept = spec.generator_layers, spec.discriminator_layers, d.params[0].dtype

        def flowing(array: Array) -> Array:
            return _cast(array, z_g.dtype)

        weights, d_weights = working(g_layers, g.params, flowing), working(d_layers, d.params, flowing)
        made = self._forward(g_layers, weights, z_g, g.running)
        judged = self._forward(d_layers, d_weights, made[-1])
        logits = _cast(judged[-1], kept)
        if spec.loss == "non-saturating":
            g_loss = self._softplus(-logits).mean()
            grad = self._sigmoid(-logits) / -spec.batch
        elif spec.loss == "saturating":
            g_loss = -self._softplus(logits).mean()
            grad = self._sigmoid(logits) / -spec.batch
        else:
            g_loss = -logits.mean()
            grad = self.xp.full(logits.shape, -1 / spec.batch, kept)
        grad = self._input_gradient(d_layers, d_weights, judged, flowing(grad))
        grads = self._backward(g_layers, weights, made, grad, kept)
        return NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), g.running), g_loss

    def wasserstein_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array
    ) -> TrainedCritic:
        g, d, b = state.generator, state.discriminator, spec.batch
        g_layers, d_layers, kept = spec.generator_layers, spec.discriminator_layers, d.params[0].dtype

        def flowing(array: Array) -> Array:
            return _cast(array, z_g.dtype)

        shares = self.xp.full((2 * b, 1), 1 / b, kept)  # of each logit in d_loss
        shares[:b] *= -1
        made_by = working(g_layers, g.params, flowing)
        for turn in range(spec.critic_steps):
            fake = self._forward(g_layers, made_by, z_d[turn], g.running)[-1]
            mixed = u[turn] * real[turn] + (1 - u[turn]) * fake
            weights = working(d_layers, d.params, flowing)
            kept_rows = self._forward(d_layers, weights, self.xp.concatenate([real[turn], fake, mixed]))
            judged, of_mixed = [rows[: 2 * b] for rows in kept_rows], [rows[2 * b :] for rows in kept_rows]
            penalty, bent = self._penalty(spec, weights, of_mixed, kept)
            d_loss = (shares * _cast(judged[-1], kept)).sum() + penalty
            grads = self._backward(d_layers, weights, judged, flowing(shares), kept)
            grads = [one + other for one, other in zip(grads, bent, strict=True)]
            taken = state.step * spec.critic_steps + turn + 1
            d = NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, taken), d.running)
        g, g_loss = self._step_on_generator(spec, g, d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), d_loss, g_loss, penalty

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        kept = self._forward(spec.discriminator_layers, params, x)
        dtype = np.promote_types(x.dtype, np.float32)
        return [_cast(grad, x.dtype) for grad in self._penalty(spec, params, kept, dtype)[1]]

    # Parts of an iteration ------------------------------------------------------------------------

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> list[Array]:
        """Return what the backward pass needs, flat: the input, then what each layer adds.

        A layer without batch norm adds its output; one with it adds its linear part and its output.
        ``running`` statistics, where given, are updated in place.
        """
        kept, normed = [x], 0
        for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
            x = x @ w.T
            if layer.batch_norm:
                kept.append(x)
                x, mean, var = self.batch_norm(x, rest[0], rest[1], BATCH_NORM_EPS)
                if running:
                    self._mix(running[normed], mean)
                    self._mix(running[normed + 1], var * (len(x) / (len(x) - 1)))
                    normed += 2
            else:
                x += rest[0]
            x = self._activate(layer.activation, x)
            kept.append(x)
        return kept

    def _backward(
        self, layers: Sequence[Layer], params: Sequence[Array], kept: list[Array], grad: Array, dtype: Any = None
    ) -> list[Array]:
        """Return the gradient of every parameter, for ``grad`` = ∂L/∂output; batches are summed in ``dtype``."""
        kept, grads = list(kept), []
        cut = by_layer(layers, params)
        for index in range(len(layers) - 1, -1, -1):
            layer, (w, *rest) = layers[index], cut[index]
            delta = self._through_activation(layer.activation, kept.pop(), grad)
            if layer.batch_norm:
                delta, grad_gamma, grad_beta = self.batch_norm_grad(kept.pop(), rest[0], rest[1], BATCH_NORM_EPS, delta)
                grads += [grad_beta, grad_gamma]
            else:
                grads.append(delta.sum(axis=0, dtype=dtype))
            grads.append(delta.T @ kept[-1])
            if index:
                grad = delta @ w
        return grads[::-1]

    def _input_gradient(
        self, layers: Sequence[Layer], params: Sequence[Array], kept: list[Array], grad: Array
    ) -> Array:
        """Return ∂L/∂input of a network without batch norm; none of its weight gradients is computed."""
        for layer, (w, _), out in zip(
            reversed(layers), reversed(by_layer(layers, params)), reversed(kept), strict=False
        ):
            grad = self._through_activation(layer.activation, out, grad) @ w
        return grad

    def _penalty(
        self, spec: GANSpec, params: Sequence[Array], kept: list[Array], dtype: Any
    ) -> tuple[Array, list[Array]]:
        """Return the penalty and its gradient for D's parameters; ``kept`` is what ``_forward`` left of its rows.

        The names are those of docs/workload.md: down to the input's gradient, and up again from that of the penalty.
        """
        xp, layers, weights, (x, *outs) = self.xp, spec.discriminator_layers, params[::2], kept
        gradient, down = xp.ones((len(x), 1), x.dtype), []
        for layer, w, out in zip(reversed(layers), reversed(weights), reversed(outs), strict=True):
            down.append(self._through_activation(layer.activation, out, gradient))
            gradient = down[-1] @ w
        p = down[::-1]
        gradient = _cast(gradient, dtype)
        norms = xp.sqrt((gradient * gradient).sum(axis=1, keepdims=True))
        penalty = spec.penalty * ((norms - 1) ** 2).mean()
        norms += norms == 0  # where there is no slope, nothing pulls at it
        gamma = _cast(2 * spec.penalty / len(x) * (1 - 1 / norms) * gradient, x.dtype)

        grads = [p[0].T @ gamma, xp.zeros(len(weights[0]), dtype)]
        bends: list[Array] = []
        for index, layer in enumerate(layers[:-1]):
            pi = gamma @ weights[index].T
            bends.append(self._bend(layer.activation, outs[index], p[index] * pi) if layer.activation in CURVED else 0)
            gamma = self._through_activation(layer.activation, outs[index], pi)
            grads += [p[index + 1].T @ gamma, xp.zeros(len(weights[index + 1]), dtype)]
        above: Array = None
        for index in range(spec.curved - 1, -1, -1):
            delta = bends[index]
            if above is not None:
                delta = delta + self._through_activation(layers[index].activation, outs[index], above)
            grads[2 * index] += delta.T @ kept[index]
            grads[2 * index + 1] += delta.sum(axis=0, dtype=dtype)
            above = delta @ weights[index] if index else None
        return penalty, grads

    @staticmethod
    def _mix(old: Array, new: Array) -> None:
        old *= 1 - BATCH_NORM_MOMENTUM
        old += BATCH_NORM_MOMENTUM * new

    def _activate(self, name: str, x: Array) -> Array:
        """Apply an activation to a temporary, in place where the library can."""
        if name == "relu":
            return self.xp.maximum(x, 0, out=x)
        if name == "leaky_relu":
            return self.xp.maximum(x, LEAKY_SLOPE * x, out=x)
        if name == "tanh":
            return self.xp.tanh(x, out=x)
        if name == "sigmoid":
            return self._sigmoid(x)
        return x

    def _through_activation(self, name: str, out: Array, grad: Array) -> Array:
        """Return grad · σ'(x), every σ' written in terms of the activation's output."""
        if name == "relu":
            return grad * (out > 0)
        if name == "leaky_relu":
            return self.xp.where(out > 0, grad, LEAKY_SLOPE * grad)
        if name == "tanh":
            return grad * (1 - out * out)
        if name == "sigmoid":
            return grad * (out * (1 - out))
        return grad

    def _bend(self, name: str, out: Array, product: Array) -> Array:
        """Return p · π · σ''(x) / σ'(x) for ``product`` = p · π, written in terms of the activation's output."""
        return product * (-2 * out) if name == "tanh" else product * (1 - 2 * out)

    def _sigmoid(self, x: Array) -> Array:
        """1 / (1 + e⁻ˣ) as ½ (1 + tanh(x/2)), which cannot overflow."""
        x = self.xp.tanh(0.5 * x)
        x += 1
        x *= 0.5
        return x

    def _softplus(self, x: Array) -> Array:
        return self.xp.logaddexp(0, x)


def _cast(array: Array, dtype: Any) -> Array:
    """Return ``array`` in ``dtype``: itself, if it has it."""
    return array if array.dtype == dtype else array.astype(dtype)
