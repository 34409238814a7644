"""The hand-derived mathematics of a GAN, written once for NumPy, for CuPy and for what ``torch.compile`` is given.

What is written here is what a competent user of any of them would write: the fake batch is not differentiated in the D
step, D's weight gradients are not computed in the G step, and temporaries are reused where that costs no clarity.
Where halves flow through the layers, whatever is summed over a batch is summed in the dtype of the parameters.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ganbench.array_ops import AdamSettings, Array, Arrays, NetworkState, Triple, Updated
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import Layer, Matrices, Window, by_layer, cast_weights, smooth_depth, weights
from ganbench.losses import Terms

from .pixels import OnPixels
from .steps import Steps


class ByHand(Matrices, OnPixels, Steps):
    """An iteration and the penalty's gradient, on arrays of the module ``xp``.

    Between layers an image is a matrix (B·H·W, C), one row for each pixel. So bias and batch norm are those of dense
    layers, and what is special of convolutions are the maps of ``ganbench.layers.Maps``.
    """

    xp: Any  # numpy, cupy or torch

    @abstractmethod
    def conv(self, x: Array, w: Array, window: Window) -> Array:
        """As ``Maps`` says, as the two below."""

    @abstractmethod
    def conv_transpose(self, y: Array, w: Array, window: Window) -> Array: ...

    @abstractmethod
    def conv_weight_grad(self, x: Array, y: Array, window: Window) -> Array: ...

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

    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        layers, dtype = spec.discriminator_layers, d.params[0].dtype
        fake = self._forward(spec.generator_layers, self._weights(spec.generator_layers, g, z), z, g.running)[-1]
        params = self._weights(layers, d, real)
        rows = [real, fake] if u is None else [real, fake, u * real + (1 - u) * fake]
        seen = [self._forward(layers, params, x, d.running) for x in (rows if spec.apart else [self._joined(rows)])]
        mixed: list[Any] = []
        if u is not None:
            (kept,) = seen
            seen = [[array[: len(array) // 3 * 2] for array in kept]]
            mixed = [array[len(array) // 3 * 2 :] for array in kept]
        d_loss, grad = self._loss(spec.objective.d, self._cast(self._joined([kept[-1] for kept in seen]), dtype))
        parts = self._cast(grad, real.dtype).reshape(len(seen), -1, 1)
        found = [self._backward(layers, params, kept, parts[number], dtype)[0] for number, kept in enumerate(seen)]
        grads = found[0] if len(found) == 1 else [one + other for one, other in zip(*found, strict=True)]
        losses = [d_loss]
        if u is not None:
            penalty, more = self._penalty(spec, params, mixed, dtype)
            grads = [one if other is None else one + other for one, other in zip(grads, more, strict=True)]
            losses = [d_loss + penalty, penalty]
        return g, NetworkState(*self.adam_step(spec, d.params, grads, d.m, d.v, step), d.running), *losses

    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        layers, d_layers, dtype = spec.generator_layers, spec.discriminator_layers, d.params[0].dtype
        params, d_params = self._weights(layers, g, z), self._weights(d_layers, d, z)
        made = self._forward(layers, params, z, g.running)
        seen = self._forward(d_layers, d_params, made[-1], d.running)
        g_loss, grad = self._loss(spec.objective.g, self._cast(seen[-1], dtype))
        _, grad = self._backward(d_layers, d_params, seen, self._cast(grad, z.dtype), only_input=True)
        grads, _ = self._backward(layers, params, made, grad, dtype)
        return NetworkState(*self.adam_step(spec, g.params, grads, g.m, g.v, step), g.running), d, g_loss

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        kept = self._forward(spec.discriminator_layers, params, x)
        _, grads = self._penalty(spec, params, kept, self.xp.promote_types(x.dtype, self.xp.float32))
        made = zip(params, grads, strict=True)
        return [self.xp.zeros_like(p) if grad is None else self._cast(grad, x.dtype) for p, grad in made]

    def _joined(self, rows: Sequence[Array]) -> Array:
        return rows[0] if len(rows) == 1 else self.xp.concatenate(rows)

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
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            w, *rest = own or (None,)
            x = layer.forward(x, w, self)
            if layer.batch_norm:
                x_hat, mean, var, scale = self._normalise(x, rest[0].dtype, BATCH_NORM_EPS)
                for new, old in zip((mean, var * (len(x) / (len(x) - 1))), statistics, strict=False):
                    old *= 1 - BATCH_NORM_MOMENTUM
                    old += BATCH_NORM_MOMENTUM * new
                kept.append((x_hat, scale))
                x = self._cast(x_hat * rest[0] + rest[1], x.dtype)
            elif rest:
                x += rest[0]
            x = self._activate(layer.activation, x)
            kept.append(x)
        return kept

    def _column_sums(self, x: Array, dtype: Any) -> Array:
        return x.sum(0, dtype=dtype)

    def _normalise(self, x: Array, dtype: Any, eps: float) -> tuple[Array, Array, Array, Array]:
        """Return x̂, mean, biased variance and 1/std of x (rows, n) over the rows."""
        mean = self._column_sums(x, dtype) / len(x)
        x_hat = x - mean
        var = self._column_sums(x_hat * x_hat, dtype) / len(x)
        scale = 1 / self.xp.sqrt(var + eps)
        x_hat *= scale
        return x_hat, mean, var, scale

    def _normalised_grad(self, x_hat: Array, scale: Array, gamma: Array, grad: Array) -> Triple:
        """∂L/∂x = gamma/std · (grad − mean(grad) − x̂ · mean(grad · x̂)); overwrites x̂."""
        wide = self._cast(grad, gamma.dtype)
        grad_beta, grad_gamma = (self._column_sums(one, gamma.dtype) for one in (wide, wide * x_hat))
        x_hat *= grad_gamma / len(wide)
        grad_x = wide - grad_beta / len(wide)
        grad_x -= x_hat
        grad_x *= gamma * scale
        return self._cast(grad_x, grad.dtype), grad_gamma, grad_beta

    def _backward(
        self, layers: Sequence[Layer], params: Sequence[Array], kept: Sequence[Any], grad: Array, dtype: Any = None,
        only_input: bool = False,
    ) -> tuple[list[Array], Array]:  # fmt: skip
        """Return the gradient of every parameter and that by the input, for ``grad`` = ∂L/∂output.

        Batches are summed in ``dtype``. The gradient by the input is whole with ``only_input``, and no other is then
        computed; else it ends at the first layer that has parameters.
        """
        kept, grads, first = list(kept), [], 1 - bool(layers[0].count)
        for number, (layer, own) in reversed(list(enumerate(zip(layers, by_layer(layers, params), strict=True)))):
            w, *rest = own or (None,)
            delta = self._activation_grad(layer.activation, kept.pop(), grad)
            if layer.batch_norm:
                x_hat, scale = kept.pop()
                delta, grad_gamma, grad_beta = self._normalised_grad(x_hat, scale, rest[0], delta)
                grads += [grad_beta, grad_gamma]
            elif rest and not only_input:
                grads.append(self._column_sums(delta, dtype))
            if own and not only_input:
                grads.append(layer.weight_grad(kept[-1], delta, self))
            if only_input or number > first:
                grad = layer.input_grad(delta, w, self)
        return grads[::-1], grad

    def _penalty(
        self, spec: GANSpec, params: Sequence[Array], kept: Sequence[Array], dtype: Any
    ) -> tuple[Array, list[Array | None]]:
        """Return the penalty and its gradient for D's parameters; ``kept`` is what ``_forward`` left of its rows.

        None stands for no gradient. The names are those of docs/workload.md: down to the input's gradient, and up
        again from that of the penalty.
        """
        layers, outs = spec.discriminator_layers, kept[1:]
        of_layers, last = weights(layers, params), len(layers) - 1
        p = [self.xp.ones_like(outs[last])]
        for index in range(last, 0, -1):
            g = layers[index].input_grad(p[0], of_layers[index], self)
            p.insert(0, self._activation_grad(layers[index - 1].activation, outs[index - 1], g))
        gradient = self._cast(layers[0].input_grad(p[0], of_layers[0], self), dtype)
        norms = self.xp.sqrt((gradient * gradient).sum(1))[:, None]
        penalty = spec.penalty * ((norms - 1) ** 2).mean()
        norms += norms == 0  # where there is no slope, nothing pulls at it
        gamma = self._cast(2 * spec.penalty / len(gradient) * (1 - 1 / norms) * gradient, kept[0].dtype)

        grads: list[list[Array | None]] = [[] for _ in layers]
        of_slopes: list[Array] = []  # what the slopes themselves depend on
        for index, layer in enumerate(layers):
            if layer.count:
                grads[index] = [layer.weight_grad(gamma, p[index], self), None][: layer.count]
            if index < last:
                pi = layer.forward(gamma, of_layers[index], self)
                of_slopes.append(
                    self._activation_second_grad(layer.activation, outs[index], p[index] * pi) if layer.smooth else 0
                )
                gamma = self._activation_grad(layer.activation, outs[index], pi)
        above: Array = None
        for index in range(smooth_depth(layers) - 1, -1, -1):
            layer, delta = layers[index], of_slopes[index]
            if above is not None:
                delta = delta + self._activation_grad(layer.activation, outs[index], above)
            if layer.count:
                more = [layer.weight_grad(kept[index], delta, self), self._column_sums(delta, dtype)]
                grads[index] = [one if old is None else old + one for old, one in zip(grads[index], more, strict=False)]
            above = layer.input_grad(delta, of_layers[index], self) if index else None
        return penalty, [grad for own in grads for grad in own]

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
