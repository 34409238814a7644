"""One GAN iteration in place: every buffer is allocated once, each network is one flat buffer.

The order of work is written here once, for every library that has ``out=``; a library adds its ``Kernels``.
Three things save work that the plain programs do: D sees real and fake rows in one batch of 2 B rows, whose
lower half is where the generator writes its images; products write straight into the flat gradient; and one
Adam step covers a whole network. Sums over rows and products with D's last layer are left to the kernels.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ganbench.backend import Array, GANState, NetworkState
from ganbench.gan import GANSpec, Layer, by_layer, parameters


class Network:
    """One network's parameters, gradients and moments: four flat buffers, and a view per tensor."""

    def __init__(self, kernels: "Kernels", layers: Sequence[Layer], start: NetworkState) -> None:
        n_params = sum(math.prod(shape) for _, shape in parameters(layers))
        self.layers = layers
        self.flat = [kernels.empty(n_params) for _ in range(4)]  # params, m, v, gradients
        self.params, self.m, self.v, self.grads = (views(flat, layers) for flat in self.flat)
        self.running = [kernels.empty(*array.shape) for array in start.running]
        self.cut, self.cut_grads = by_layer(layers, self.params), by_layer(layers, self.grads)
        self.transposed = [w.T for w, *_ in self.cut]  # of the weights; made once, since PyTorch takes microseconds

    @property
    def state(self) -> NetworkState:
        """The live arrays."""
        return NetworkState(self.params, self.m, self.v, self.running)


class Rows:
    """What each layer of a network leaves for the backward pass, for so many rows."""

    def __init__(self, kernels: "Kernels", layers: Sequence[Layer], rows: int) -> None:
        self.outs = [kernels.empty(rows, layer.n_out) for layer in layers]
        self.deltas = [kernels.empty(rows, layer.n_out) for layer in layers]
        self.transposed = [delta.T for delta in self.deltas]
        self.linear = [kernels.empty(rows, layer.n_out) if layer.batch_norm else None for layer in layers]
        self.saved = [[kernels.empty(layer.n_out) for _ in range(2)] if layer.batch_norm else [] for layer in layers]

    @staticmethod
    def of(outs: list[Array], deltas: list[Array]) -> "Rows":
        """Return rows in memory that others own; of a network without batch norm."""
        rows = object.__new__(Rows)
        rows.outs, rows.deltas, rows.transposed = outs, deltas, [delta.T for delta in deltas]
        return rows

    def cut(self, start: int, end: int) -> "Rows":
        """Return the same memory, cut to some of its rows; of a network without batch norm."""
        return Rows.of([out[start:end] for out in self.outs], [delta[start:end] for delta in self.deltas])


class Loss(NamedTuple):
    """One network's loss: ``sign`` and ``slope = scale · sign`` (rows, 1), ``scale`` ()."""

    sign: Array
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
    def dense(self, x: Array, w: Array, b: Array, activation: str, out: Array) -> None:
        """``out = activation(x w + b)``, w being a transposed view."""

    @abstractmethod
    def activate(self, activation: str, x: Array) -> None:
        """``x = activation(x)``."""

    @abstractmethod
    def through(self, activation: str, out: Array, grad: Array) -> None:
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
    def judge(self, logits: Array, loss: Loss, value: Array, grad: Array) -> None:
        """``value = scale Σ softplus(sign · logits)``, a scalar; ``grad`` its gradient by the logits."""

    @abstractmethod
    def weigh(self, logits: Array, loss: Loss, value: Array, grad: Array) -> None:
        """``value = Σ slope · logits``, a scalar; ``grad`` its gradient by the logits."""

    @abstractmethod
    def mix(self, real: Array, fake: Array, u: Array, out: Array) -> None:
        """``out = u real + (1 − u) fake``, with a share u (B,1) for each row."""

    @abstractmethod
    def penalise(self, slopes: Array, weight: float, value: Array, total: Array) -> None:
        """``value = weight · mean((‖row‖ − 1)²)``, added to ``total``; ``slopes`` (B,n) become its gradient by them."""

    @abstractmethod
    def bend(self, activation: str, out: Array, p: Array, pi: Array, bent: Array) -> None:
        """``bent = p · π · σ''/σ'``, written in terms of the activation's output."""

    @abstractmethod
    def add(self, x: Array, out: Array) -> None:
        """``out = out + x``."""

    @abstractmethod
    def counter(self) -> Any:
        """Return a new count of Adam's steps, where ``adam`` wants it."""

    @abstractmethod
    def set_step(self, spec: GANSpec, counter: Any, step: int) -> None:
        """Set how many steps are completed."""

    @abstractmethod
    def begin_step(self, spec: GANSpec, counter: Any) -> None:
        """Count one step."""

    @abstractmethod
    def adam(self, spec: GANSpec, counter: Any, flat: Sequence[Array]) -> None:
        """One Adam step on flat (params, m, v, gradients) at the step last begun."""


class Iteration:
    """The buffers of a GAN in training, and one iteration on them."""

    blocks = 2  # of B rows that D sees at once

    def __init__(self, kernels: Kernels, spec: GANSpec, start: GANState) -> None:
        self.spec, self.kernels, b = spec, kernels, spec.batch
        self.generator = Network(kernels, spec.generator_layers, start.generator)
        self.discriminator = Network(kernels, spec.discriminator_layers, start.discriminator)
        self._count = kernels.counter()
        self._made = Rows(kernels, spec.generator_layers, b)
        self._judged = Rows(kernels, spec.discriminator_layers, self.blocks * b)
        self._judged_fake = self._judged.cut(0, b)
        saturating = spec.loss == "saturating"
        self._d_loss = self._loss([-1] * b + [1] * b, 1 / b)
        self._g_loss = self._loss([1] * b, -1 / b) if saturating else self._loss([-1] * b, 1 / b)
        self.load(start)

    def _loss(self, signs: Sequence[int], scale: float) -> Loss:
        kernels, column = self.kernels, np.array(signs, float)[:, None]
        loss = Loss(kernels.empty(*column.shape), kernels.empty(*column.shape), kernels.empty())
        for target, source in zip(loss, (column, scale * column, np.array(scale)), strict=True):
            kernels.copy(source, target)
        return loss

    def load(self, start: GANState) -> None:
        """Go to the state ``start``, on the host."""
        for network, begin in ((self.generator, start.generator), (self.discriminator, start.discriminator)):
            live = network.state
            for target, source in zip(itertools.chain(*live), itertools.chain(*begin), strict=True):
                self.kernels.copy(source, target)
        self.step = int(start.step)
        self.kernels.set_step(self.spec, self._count, self.step)

    @property
    def state(self) -> GANState:
        """The live arrays."""
        return GANState(self.generator.state, self.discriminator.state, self.step)

    def places(self) -> tuple[Array, ...]:
        """Return where a batch is staged: real images above, fake ones are written below; and the noise."""
        spec, empty = self.spec, self.kernels.empty
        return empty(2 * spec.batch, spec.img_dim), empty(spec.batch, spec.z_dim), empty(spec.batch, spec.z_dim)

    def __call__(self, batch: Sequence[Array], reported: Sequence[Array]) -> None:
        """Train on a batch that is in its ``places``; write what is reported."""
        kernels, spec, (rows, z_d, z_g), (d_loss, g_loss) = self.kernels, self.spec, batch, reported
        kernels.begin_step(spec, self._count)
        self.step += 1

        self._forward(self.generator, z_d, self._made, last=rows[spec.batch :])
        judged = self._judged
        self._forward(self.discriminator, rows, judged)
        kernels.judge(judged.outs[-1], self._d_loss, d_loss, judged.deltas[-1])
        self._backward(self.discriminator, rows, judged)
        kernels.adam(spec, self._count, self.discriminator.flat)
        self._step_on_generator(z_g, g_loss)

    def _step_on_generator(self, z_g: Array, g_loss: Array) -> None:
        kernels, made, judged = self.kernels, self._made, self._judged_fake
        self._forward(self.generator, z_g, made)
        self._forward(self.discriminator, made.outs[-1], judged)
        judge = kernels.weigh if self.spec.wasserstein else kernels.judge
        judge(judged.outs[-1], self._g_loss, g_loss, judged.deltas[-1])
        self._to_input(judged, made.deltas[-1])
        self._backward(self.generator, z_g, made)
        kernels.adam(self.spec, self._count, self.generator.flat)

    def _forward(self, network: Network, x: Array, rows: Rows, last: Array | None = None) -> None:
        """Leave every layer's output in ``rows``; the last one in ``last``, where given."""
        outs = rows.outs if last is None else [*rows.outs[:-1], last]
        normed = 0
        for index, (layer, (_, *rest), w, out) in enumerate(
            zip(network.layers, network.cut, network.transposed, outs, strict=True)
        ):
            if layer.batch_norm:
                linear = rows.linear[index]
                self.kernels.product(x, w, linear)
                running = network.running[normed : normed + 2]
                self.kernels.batch_norm(linear, rest[0], rest[1], running, rows.saved[index], out)
                normed += 2
                self.kernels.activate(layer.activation, out)
            else:
                self.kernels.dense(x, w, rest[0], layer.activation, out)
            x = out

    def _backward(self, network: Network, x: Array, rows: Rows) -> None:
        """Fill the gradients of ``network``; its last delta holds ∂L/∂output and is overwritten."""
        kernels = self.kernels
        for index in range(len(network.layers) - 1, -1, -1):
            layer, (w, *rest), (grad_w, *grads) = network.layers[index], network.cut[index], network.cut_grads[index]
            delta = rows.deltas[index]
            kernels.through(layer.activation, rows.outs[index], delta)
            if layer.batch_norm:
                kernels.batch_norm_grad(rows.linear[index], rest[0], rows.saved[index], delta, grads[0], grads[1])
            else:
                kernels.column_sums(delta, grads[0])
            kernels.product(rows.transposed[index], rows.outs[index - 1] if index else x, grad_w)
            if index:
                kernels.product(delta, w, rows.deltas[index - 1])

    def _to_input(self, rows: Rows, target: Array) -> None:
        """Carry the gradient through D down to its input, ``target``; none of D's weight gradients is computed."""
        layers, cut = self.discriminator.layers, self.discriminator.cut
        targets = [target, *rows.deltas[:-1]]
        for index in range(len(layers) - 1, -1, -1):
            self.kernels.through(layers[index].activation, rows.outs[index], rows.deltas[index])
            self.kernels.product(rows.deltas[index], cut[index][0], targets[index])


def views(flat: Array, layers: Sequence[Layer]) -> list[Array]:
    """Return one view into ``flat`` per parameter of a network, in the order backends receive them."""
    cut, start = [], 0
    for _, shape in parameters(layers):
        end = start + math.prod(shape)
        cut.append(flat[start:end].reshape(shape))
        start = end
    return cut
