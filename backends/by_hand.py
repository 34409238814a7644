"""The hand-derived mathematics of a GAN, written once for NumPy, for CuPy and for what ``torch.compile`` is given.

What is written here is what a competent user of any of them would write: the fake batch is not differentiated in the D
step, D's weight gradients are not computed in the G step, and temporaries are reused where that costs no clarity.
Where halves flow through the layers, whatever is summed over a batch is summed in the dtype of the parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ganbench.array_ops import AdamSettings, Array, Arrays, GANState, NetworkState, Trained, Triple, Updated, steps_on_d
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import Layer, by_layer, cast_weights, smooth_depth
from ganbench.losses import Terms


class ByHand(ABC):
    """An iteration and the penalty's gradient, on arrays of the module ``xp``."""

    xp: Any  # numpy, cupy or torch

    @abstractmethod
    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """As ``ArrayOps`` says."""

    @abstractmethod
    def _cast(self, array: Array, dtype: Any) -> Array:
        """Return ``array`` in ``dtype``: itself, if it has it."""

    @abstractmethod
    def _activate(self, name: str, x: Array) -> Array:
        """Apply an activation to a temporary."""

    @abstractmethod
    def _sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + e⁻ˣ), without an overflow."""

    @abstractmethod
    def _softplus(self, x: Array) -> Array:
        """Return log(1 + eˣ), without an overflow."""

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        g, d, taken = state.generator, state.discriminator, state.step * spec.critic_steps
        for one in steps_on_d(spec, real, z_d, u):
            taken = taken + 1
            d, *losses = self.step_on_discriminator(spec, g, d, *one, taken)
        g, g_loss = self.step_on_generator(spec, g, d, z_g, state.step + 1)
        return GANState(g, d, state.step + 1), losses[0], g_loss, *losses[1:]

    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        """Return D after one step, its loss and, where there is one, the penalty in it."""
        layers, b, dtype = spec.discriminator_layers, spec.batch, d.params[0].dtype
        fake = self._forward(spec.generator_layers, self._weights(spec.generator_layers, g, z), z, g.running)[-1]
        weights = self._weights(layers, d, real)
        rows = [real, fake] if u is None else [real, fake, u * real + (1 - u) * fake]
        kept = self._forward(layers, weights, self.xp.concatenate(rows))
        seen = [array[: 2 * b] for array in kept]
        d_loss, grad = self._loss(spec.objective.d, self._cast(seen[-1], dtype))
        grads = self._backward(layers, weights, seen, self._cast(grad, real.dtype), dtype)
        losses = [d_loss]
        if u is not None:
            penalty, more = self._penalty(spec, weights, [array[2 * b :] for array in kept], dtype)
            grads = [one if other is None else one + other for one, other in zip(grads, more, strict=True)]
            losses = [d_loss + penalty, penalty]
        return NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), d.running), *losses

    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, Array]:
        """Return G after one step against the updated D, and its loss."""
        layers, d_layers, dtype = spec.generator_layers, spec.discriminator_layers, d.params[0].dtype
        weights, d_weights = self._weights(layers, g, z), self._weights(d_layers, d, z)
        made = self._forward(layers, weights, z, g.running)
        seen = self._forward(d_layers, d_weights, made[-1])
        g_loss, grad = self._loss(spec.objective.g, self._cast(seen[-1], dtype))
        grad = self._input_gradient(d_layers, d_weights, seen, self._cast(grad, z.dtype))
        grads = self._backward(layers, weights, made, grad, dtype)
        return NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), g.running), g_loss

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        kept = self._forward(spec.discriminator_layers, params, x)
        _, grads = self._penalty(spec, params, kept, self.xp.promote_types(x.dtype, self.xp.float32))
        made = zip(params, grads, strict=True)
        return [self.xp.zeros_like(p) if grad is None else self._cast(grad, x.dtype) for p, grad in made]

    def _weights(self, layers: Sequence[Layer], network: NetworkState, x: Array) -> list[Array]:
        """Return the parameters in the dtype of ``x``, which flows through them."""
        return cast_weights(layers, network.params, lambda p: self._cast(p, x.dtype))

    def _loss(self, terms: Terms, logits: Array) -> tuple[Array, Array]:
        """Return a loss of ``logits`` (blocks · B, 1) and its gradient by them."""
        blocks = terms.arguments(logits)
        share = terms.weight * len(blocks) / len(logits)
        slopes = [sign * share * self._phi_slope(terms.phi, x) for sign, x in zip(terms.signs, blocks, strict=True)]
        return terms.value(blocks, lambda x: self._phi(terms.phi, x)), self.xp.concatenate(slopes)

    def _phi(self, name: str, x: Array) -> Array:
        if name == "softplus":
            return self._softplus(x)
        if name == "relu":
            return x * (x > 0)
        return x * x if name == "square" else x

    def _phi_slope(self, name: str, x: Array) -> Array:
        if name == "softplus":
            return self._sigmoid(x)
        if name == "relu":
            return self._cast(x > 0, x.dtype)
        return 2 * x if name == "square" else self.xp.ones_like(x)

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> list[Any]:
        """Return what the backward pass needs, flat: the input, then what each layer adds.

        A layer without batch norm adds its output; one with it adds (x̂, 1/std), and its output. ``running``
        statistics, where given, are updated in place.
        """
        kept, statistics = [x], iter(running)
        for layer, (w, *rest) in zip(layers, by_layer(layers, params), strict=True):
            x = layer.forward(x, w)
            if layer.batch_norm:
                x_hat, mean, var, scale = self._normalise(x, rest[0].dtype, BATCH_NORM_EPS)
                for new, old in zip((mean, var * (len(x) / (len(x) - 1))), statistics, strict=False):
                    old *= 1 - BATCH_NORM_MOMENTUM
                    old += BATCH_NORM_MOMENTUM * new
                kept.append((x_hat, scale))
                x = self._cast(x_hat * rest[0] + rest[1], x.dtype)
            else:
                x += rest[0]
            x = self._activate(layer.activation, x)
            kept.append(x)
        return kept

    def _normalise(self, x: Array, dtype: Any, eps: float) -> tuple[Array, Array, Array, Array]:
        """Return x̂, mean, biased variance and 1/std of x (B,n) over the batch axis."""
        mean = x.mean(0, dtype=dtype)
        x_hat = x - mean
        var = (x_hat * x_hat).mean(0)
        scale = 1 / self.xp.sqrt(var + eps)
        x_hat *= scale
        return x_hat, mean, var, scale

    def _normalised_grad(self, x_hat: Array, scale: Array, gamma: Array, grad: Array) -> Triple:
        """∂L/∂x = gamma/std · (grad − mean(grad) − x̂ · mean(grad · x̂)); overwrites x̂."""
        wide = self._cast(grad, gamma.dtype)
        grad_beta, grad_gamma = wide.sum(0), (wide * x_hat).sum(0)
        x_hat *= grad_gamma / len(wide)
        grad_x = wide - grad_beta / len(wide)
        grad_x -= x_hat
        grad_x *= gamma * scale
        return self._cast(grad_x, grad.dtype), grad_gamma, grad_beta

    def _backward(
        self, layers: Sequence[Layer], params: Sequence[Array], kept: Sequence[Any], grad: Array, dtype: Any = None
    ) -> list[Array]:
        """Return the gradient of every parameter, for ``grad`` = ∂L/∂output; batches are summed in ``dtype``."""
        kept, grads = list(kept), []
        for layer, (w, *rest) in reversed(list(zip(layers, by_layer(layers, params), strict=True))):
            delta = self._activation_grad(layer.activation, kept.pop(), grad)
            if layer.batch_norm:
                x_hat, scale = kept.pop()
                delta, grad_gamma, grad_beta = self._normalised_grad(x_hat, scale, rest[0], delta)
                grads += [grad_beta, grad_gamma]
            else:
                grads.append(delta.sum(0, dtype=dtype))
            grads.append(layer.weight_grad(kept[-1], delta))
            if len(kept) > 1:
                grad = layer.input_grad(delta, w)
        return grads[::-1]

    def _input_gradient(
        self, layers: Sequence[Layer], params: Sequence[Array], kept: Sequence[Array], grad: Array
    ) -> Array:
        """Return ∂L/∂input of a network without batch norm; none of its weight gradients is computed."""
        for layer, w, out in zip(reversed(layers), reversed(params[::2]), reversed(kept[1:]), strict=True):
            grad = layer.input_grad(self._activation_grad(layer.activation, out, grad), w)
        return grad

    def _penalty(
        self, spec: GANSpec, params: Sequence[Array], kept: Sequence[Array], dtype: Any
    ) -> tuple[Array, list[Array | None]]:
        """Return the penalty and its gradient for D's parameters; ``kept`` is what ``_forward`` left of its rows.

        None stands for no gradient. The names are those of docs/workload.md: down to the input's gradient, and up
        again from that of the penalty.
        """
        layers, weights, outs = spec.discriminator_layers, params[::2], kept[1:]
        last = len(layers) - 1
        p = [self.xp.ones_like(outs[last])]
        for index in range(last, 0, -1):
            g = layers[index].input_grad(p[0], weights[index])
            p.insert(0, self._activation_grad(layers[index - 1].activation, outs[index - 1], g))
        gradient = self._cast(layers[0].input_grad(p[0], weights[0]), dtype)
        norms = self.xp.sqrt((gradient * gradient).sum(1))[:, None]
        penalty = spec.penalty * ((norms - 1) ** 2).mean()
        norms += norms == 0  # where there is no slope, nothing pulls at it
        gamma = self._cast(2 * spec.penalty / len(gradient) * (1 - 1 / norms) * gradient, kept[0].dtype)

        grads: list[Array | None] = [layers[0].weight_grad(gamma, p[0]), None]
        of_slopes: list[Array] = []  # what the slopes themselves depend on
        for index, layer in enumerate(layers[:-1]):
            pi = layer.forward(gamma, weights[index])
            of_slopes.append(
                self._activation_second_grad(layer.activation, outs[index], p[index] * pi) if layer.smooth else 0
            )
            gamma = self._activation_grad(layer.activation, outs[index], pi)
            grads += [layers[index + 1].weight_grad(gamma, p[index + 1]), None]
        above: Array = None
        for index in range(smooth_depth(layers) - 1, -1, -1):
            delta = of_slopes[index]
            if above is not None:
                delta = delta + self._activation_grad(layers[index].activation, outs[index], above)
            grads[2 * index] = grads[2 * index] + layers[index].weight_grad(kept[index], delta)
            grads[2 * index + 1] = delta.sum(0, dtype=dtype)
            above = layers[index].input_grad(delta, weights[index]) if index else None
        return penalty, grads

    def _activation_grad(self, name: str, out: Array, grad: Array) -> Array:
        """Return grad · σ'(x), every σ' written in terms of the activation's output."""
        if name == "relu":
            return grad * (out > 0)
        if name == "leaky_relu":
            return self.xp.where(out > 0, grad, LEAKY_SLOPE * grad)
        if name == "tanh":
            return grad * (1 - out * out)
        return grad * (out * (1 - out)) if name == "sigmoid" else grad

    def _activation_second_grad(self, name: str, out: Array, product: Array) -> Array:
        """Return p · π · σ''(x) / σ'(x) for ``product`` = p · π, written in terms of the activation's output."""
        return product * (-2 * out) if name == "tanh" else product * (1 - 2 * out)
