"""One GAN iteration in place: every buffer is allocated once, each network is one flat buffer.

The order of work is written here once, for every library that has ``out=``; a library adds its ``Kernels``.
Three things save work that the plain programs do: D sees real and fake rows in one batch of 2 B rows, whose
lower half is where the generator writes its images; products write straight into the flat gradient; and one
Adam step covers a whole network. Sums over rows and products with D's last layer are left to the kernels.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ganbench.array_ops import AdamSettings, arrays, steps_on_d
from ganbench.backend import Array, GANState
from ganbench.gan import GANSpec
from ganbench.layers import Dense, Window
from ganbench.losses import Terms

from .inplace_buffers import Activations, Into, Network


class LossColumns(NamedTuple):
    """``Terms`` by row: ``sign``, ``shift`` and ``slope = scale · sign`` (rows, 1), and ``scale`` = weight / B ()."""

    phi: str
    sign: Array
    shift: Array | None  # None where it is 0 in all rows
    slope: Array
    scale: Array


class Kernels(ABC):
    """What one library does in place; ``out`` and what is said to change are the only arrays written."""

    @abstractmethod
    def empty(self, *shape: int) -> Array:
        """Return an uninitialised array."""

    @abstractmethod
    def copy(self, source: Array, target: Array) -> None:
        """Copy ``source``, on the device or the host, over ``target``."""

    @abstractmethod
    def product(self, a: Array, b: Array, out: Array) -> None:
        """``out = a b``, operands possibly transposed views."""

    @abstractmethod
    def conv(self, x: Array, w: Array, window: Window, out: Array) -> object:
        """Write what ``Maps`` says into ``out``, as the two below."""

    @abstractmethod
    def conv_transpose(self, y: Array, w: Array, window: Window, out: Array) -> object: ...

    @abstractmethod
    def conv_weight_grad(self, x: Array, y: Array, window: Window, out: Array) -> object: ...

    @abstractmethod
    def reshape(self, x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Array:
        """Return x as ``Maps`` says, in memory that the next such call overwrites."""

    @abstractmethod
    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        """``out = activation(x w + b)``, w being a transposed view."""

    @abstractmethod
    def activate(self, activation: str, x: Array) -> None:
        """``x = activation(x)``."""

    @abstractmethod
    def activation_grad(self, activation: str, out: Array, grad: Array) -> None:
        """``grad = grad · σ'``, with σ' written in terms of the activation's output."""

    @abstractmethod
    def column_sums(self, x: Array, out: Array) -> None:
        """``out`` (n,) ``= Σ`` of the rows of x (B,n)."""

    @abstractmethod
    def batch_norm(
        self, x: Array, gamma: Array, beta: Array, running: Sequence[Array], saved: Sequence[Array], out: Array
    ) -> None:
        """Normalise x into ``out``, update ``running``; leave in x and ``saved`` (n,), (n,) what the gradient needs."""

    @abstractmethod
    def batch_norm_grad(
        self, x: Array, gamma: Array, saved: Sequence[Array], grad: Array, grad_gamma: Array, grad_beta: Array
    ) -> None:
        """``grad`` becomes ∂L/∂x; write the gradients of gamma and beta. May overwrite x."""

    @abstractmethod
    def loss(self, logits: Array, loss: LossColumns, value: Array, grad: Array) -> None:
        """``value = scale Σ phi(sign · logits + shift)``, a scalar; ``grad`` its gradient by the logits."""

    @abstractmethod
    def mix(self, real: Array, fake: Array, u: Array, out: Array) -> None:
        """``out = u real + (1 − u) fake``, with a share u (B,1) for each row."""

    @abstractmethod
    def penalise(self, slopes: Array, weight: float, value: Array, total: Array) -> None:
        """``value = weight · mean((‖row‖ − 1)²)``, added to ``total``; ``slopes`` (B,n) become its gradient by them."""

    @abstractmethod
    def activation_second_grad(self, activation: str, out: Array, p: Array, pi: Array, target: Array) -> None:
        """``target = p · π · σ''/σ'``, written in terms of the activation's output."""

    @abstractmethod
    def add(self, x: Array, out: Array) -> None:
        """``out = out + x``."""

    @abstractmethod
    def counter(self) -> Any:
        """Return a new count of Adam's steps, where ``adam`` wants it."""

    @abstractmethod
    def set_step(self, spec: AdamSettings, counter: Any, step: int) -> None:
        """Set how many steps are completed."""

    @abstractmethod
    def begin_step(self, spec: AdamSettings, counter: Any) -> None:
        """Count one step."""

    @abstractmethod
    def adam(self, spec: AdamSettings, counter: Any, flat: Sequence[Array]) -> None:
        """One Adam step on flat (params, m, v, gradients) at the step last begun."""


class Iteration:
    """The buffers of a GAN in training, and one iteration on them."""

    blocks = 2  # of B rows that D sees at once

    def __init__(self, kernels: Kernels, spec: GANSpec, start: GANState) -> None:
        self.spec, self.kernels, b = spec, kernels, spec.batch
        self.generator = Network(kernels, spec.generator_layers, start.generator)
        self.discriminator = Network(kernels, spec.discriminator_layers, start.discriminator)
        self._g_count = kernels.counter()
        self._d_count = self._g_count if spec.critic_steps == 1 else kernels.counter()
        self._made = Activations.empty(kernels, spec.generator_layers, b)
        self._seen = Activations.empty(kernels, spec.discriminator_layers, self.blocks * b, 1 + spec.apart)
        most = max(layer.channels for layer in spec.discriminator_layers)
        self._unused = [kernels.empty(most) for _ in range(2)]  # gradients of gamma and beta that nobody asks for
        self._seen_fake = self._seen.cut(0, b)
        self._d_loss, self._g_loss = map(self._columns, (spec.objective.d, spec.objective.g))
        self.load(start)

    def _columns(self, terms: Terms) -> LossColumns:
        signs, shifts = (np.repeat(part, self.spec.batch)[:, None] for part in (terms.signs, terms.shifts))
        scale = np.array(terms.weight / self.spec.batch)
        sign, shift, slope, share = map(self._copied, (signs, shifts, scale * signs, scale))
        return LossColumns(terms.phi, sign, shift if shifts.any() else None, slope, share)

    def _copied(self, array: np.ndarray) -> Array:
        target = self.kernels.empty(*array.shape)
        self.kernels.copy(array.astype(float), target)
        return target

    def load(self, start: GANState) -> None:
        """Go to the state ``start``, on the host."""
        live = self.generator.state, self.discriminator.state
        for target, source in zip(arrays(live), arrays(start[:2]), strict=True):
            self.kernels.copy(source, target)
        self.step = int(start.step)
        self.kernels.set_step(self.spec, self._g_count, self.step)
        self.kernels.set_step(self.spec, self._d_count, self.step * self.spec.critic_steps)

    @property
    def state(self) -> GANState:
        """The live arrays."""
        return GANState(self.generator.state, self.discriminator.state, self.step)

    def batch_buffers(self) -> tuple[list[tuple[Array, ...]], Array]:
        """Return where a batch is staged: what each step on D takes, and the noise of the step on G."""
        return [self._step_buffers() for _ in range(self.spec.critic_steps)], self._noise_buffer()

    def _step_buffers(self) -> tuple[Array, ...]:
        """Real images above, fake ones are written below; and noise."""
        return self.kernels.empty(2 * self.spec.batch, self.spec.img_dim), self._noise_buffer()

    def _noise_buffer(self) -> Array:
        return self.kernels.empty(self.spec.batch, self.spec.z_dim)

    def stage(self, batch: Sequence[np.ndarray], buffers: tuple[list[tuple[Array, ...]], Array]) -> None:
        """Copy a batch of the host to its buffers."""
        (real, z_d, z_g, *u), (steps, noise) = batch, buffers
        for one, targets in zip(steps_on_d(self.spec, real, z_d, *u or (None,)), steps, strict=True):
            for source, target in zip(one, targets, strict=False):
                self.kernels.copy(source, target[: len(source)])
        self.kernels.copy(z_g, noise)

    def __call__(self, batch: tuple[list[tuple[Array, ...]], Array], reported: Sequence[Array]) -> None:
        """Train on a batch that is in its buffers; write what is reported."""
        (steps, z_g), (d_loss, g_loss, *penalty) = batch, reported
        for one in steps:
            self.kernels.begin_step(self.spec, self._d_count)
            self._step_on_discriminator(*one, d_loss, *penalty)
            self.kernels.adam(self.spec, self._d_count, self.discriminator.flat)
        if self._g_count is not self._d_count:
            self.kernels.begin_step(self.spec, self._g_count)
        self.step += 1
        self._step_on_generator(z_g, g_loss)

    def _step_on_discriminator(self, *args: Array) -> None:
        """Fill D's gradients, given what is in its buffers and where its losses are written."""
        (rows, z, d_loss), seen = args, self._seen
        self._forward(self.generator, z, self._made, last=rows[self.spec.batch :])
        self._forward(self.discriminator, rows, seen)
        self.kernels.loss(seen.outs[-1], self._d_loss, d_loss, seen.deltas[-1])
        self._backward(self.discriminator, rows, seen)

    def _step_on_generator(self, z_g: Array, g_loss: Array) -> None:
        made, seen = self._made, self._seen_fake
        self._forward(self.generator, z_g, made)
        self._forward(self.discriminator, made.outs[-1], seen)
        self.kernels.loss(seen.outs[-1], self._g_loss, g_loss, seen.deltas[-1])
        self._to_input(seen, made.deltas[-1])
        self._backward(self.generator, z_g, made)
        self.kernels.adam(self.spec, self._g_count, self.generator.flat)

    def _forward(self, network: Network, x: Array, kept: Activations, last: Array | None = None) -> None:
        """Leave every layer's output in ``kept``; the last one in ``last``, where given."""
        outs = kept.outs if last is None else [*kept.outs[:-1], last]
        normed, kernels = 0, self.kernels
        for index, (layer, (w, *rest), out) in enumerate(zip(network.layers, network.own, outs, strict=True)):
            if layer.batch_norm:
                linear, running = kept.linear[index], network.running[normed : normed + 2]
                layer.forward(x, w, Into(kernels, linear))
                for part, made, saved in self._parts(kept.saved[index], linear, out):
                    kernels.batch_norm(part, rest[0], rest[1], running, saved, made)
                normed += 2
                kernels.activate(layer.activation, out)
            elif isinstance(layer, Dense) and rest:
                kernels.dense(x, w.T, rest[0], layer.activation, out)
            else:
                layer.forward(x, w, Into(kernels, out))
                if rest:
                    kernels.add(rest[0], out)
                kernels.activate(layer.activation, out)
            x = out

    def _backward(self, network: Network, x: Array, kept: Activations) -> None:
        """Fill the gradients of ``network``; its last delta holds ∂L/∂output and is overwritten."""
        for index in range(len(network.layers) - 1, -1, -1):
            layer, (w, *_), (into, grads) = network.layers[index], network.own[index], network.own_grads[index]
            self._to_linear(network, index, kept, grads)
            if index > network.first:
                layer.input_grad(kept.deltas[index], w, kept.below[index - 1])
            if layer.count:  # last: of a transposed convolution it needs the windows that were just taken
                layer.weight_grad(kept.outs[index - 1] if index else x, kept.deltas[index], into)

    def _to_linear(self, network: Network, index: int, kept: Activations, grads: Sequence[Array]) -> None:
        """Carry the delta of a layer through its activation and batch norm; fill ``grads`` where there are some."""
        layer, delta, kernels = network.layers[index], kept.deltas[index], self.kernels
        kernels.activation_grad(layer.activation, kept.outs[index], delta)
        if layer.batch_norm:
            parts = self._parts(kept.saved[index], kept.linear[index], delta)
            unused = [array[: layer.channels] for array in self._unused]
            for number, (part, grad, saved) in enumerate(parts):
                sums = grads if grads and not number else unused
                kernels.batch_norm_grad(part, network.own[index][1], saved, grad, sums[0], sums[1])
                for target, more in zip(grads if number else (), sums, strict=False):
                    kernels.add(more, target)
        elif grads:
            kernels.column_sums(delta, grads[0])

    @staticmethod
    def _parts(saved: Sequence[Any], *arrays: Array) -> Iterator[tuple[Any, ...]]:
        """Return the parts of the rows that have statistics of their own, and where these are."""
        step = len(arrays[0]) // len(saved)
        for number, own in enumerate(saved):
            yield *(array[number * step : (number + 1) * step] for array in arrays), own

    def _to_input(self, kept: Activations, target: Array) -> None:
        """Carry the gradient through D down to its input, ``target``; none of D's weight gradients is computed."""
        network, below = self.discriminator, [Into(self.kernels, target), *kept.below]
        for index in range(len(network.layers) - 1, -1, -1):
            self._to_linear(network, index, kept, ())
            network.layers[index].input_grad(kept.deltas[index], network.own[index][0], below[index])
