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
from typing import NamedTuple

import numpy as np

from ganbench.backend import Array, Backend, GANState, NetworkState, Program
from ganbench.gan import GANSpec, Layer, by_layer, parameters
from ganbench.operation import Inputs, Operation


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

    def first(self, rows: int) -> "Rows":
        """Return the same memory, cut to its first ``rows`` rows; of a network without batch norm."""
        cut = object.__new__(Rows)
        cut.outs, cut.deltas = ([array[:rows] for array in part] for part in (self.outs, self.deltas))
        cut.transposed = [delta.T for delta in cut.deltas]
        cut.linear, cut.saved = self.linear, self.saved
        return cut


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
    def adam(self, spec: GANSpec, flat: Sequence[Array]) -> None:
        """One Adam step on flat (params, m, v, gradients) at the step last begun."""

    @abstractmethod
    def begin_step(self, spec: GANSpec) -> None:
        """Count one iteration."""

    @abstractmethod
    def set_step(self, spec: GANSpec, step: int) -> None:
        """Set how many iterations are completed."""


class Iteration:
    """The buffers of a GAN in training, and one iteration on them."""

    def __init__(self, kernels: Kernels, spec: GANSpec, start: GANState) -> None:
        self.spec, self.kernels, b = spec, kernels, spec.batch
        self.generator = Network(kernels, spec.generator_layers, start.generator)
        self.discriminator = Network(kernels, spec.discriminator_layers, start.discriminator)
        self._made = Rows(kernels, spec.generator_layers, b)
        self._judged = Rows(kernels, spec.discriminator_layers, 2 * b)
        self._judged_fake = self._judged.first(b)
        self._image_grad = self._made.deltas[-1]
        saturating = spec.loss != "non-saturating"
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
        self.kernels.set_step(self.spec, self.step)

    @property
    def state(self) -> GANState:
        """The live arrays."""
        return GANState(self.generator.state, self.discriminator.state, self.step)

    def __call__(self, rows: Array, z_d: Array, z_g: Array, d_loss: Array, g_loss: Array) -> None:
        """Train on ``rows`` (2 B, img_dim), real images above; below, fake ones are written."""
        kernels, spec, b = self.kernels, self.spec, self.spec.batch
        kernels.begin_step(spec)
        self.step += 1

        self._forward(self.generator, z_d, self._made, last=rows[b:])
        judged = self._judged
        self._forward(self.discriminator, rows, judged)
        kernels.judge(judged.outs[-1], self._d_loss, d_loss, judged.deltas[-1])
        self._backward(self.discriminator, rows, judged)
        kernels.adam(spec, self.discriminator.flat)

        made, judged = self._made, self._judged_fake
        self._forward(self.generator, z_g, made)
        self._forward(self.discriminator, made.outs[-1], judged)
        kernels.judge(judged.outs[-1], self._g_loss, g_loss, judged.deltas[-1])
        self._to_images(judged)
        self._backward(self.generator, z_g, made)
        kernels.adam(spec, self.generator.flat)

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

    def _to_images(self, rows: Rows) -> None:
        """Carry the gradient through D down to the images; none of D's weight gradients is computed."""
        layers, cut = self.discriminator.layers, self.discriminator.cut
        targets = [self._image_grad, *rows.deltas[:-1]]
        for index in range(len(layers) - 1, -1, -1):
            self.kernels.through(layers[index].activation, rows.outs[index], rows.deltas[index])
            self.kernels.product(rows.deltas[index], cut[index][0], targets[index])


class InPlaceProgram(Program):
    """An ``Iteration`` over the staged batches, one for each call."""

    def __init__(self, backend: Backend, kernels: Kernels, operation: Operation, inputs: Inputs) -> None:
        self._backend, self._operation, self._start = backend, operation, inputs.state
        spec, self._kernels = operation.spec, kernels
        self.iteration = Iteration(kernels, spec, inputs.state)
        self._losses = kernels.empty(2)
        self._loss_views = self._losses[0, ...], self._losses[1, ...]
        self._batches: list[tuple[Array, ...]] = [
            (kernels.empty(2 * spec.batch, spec.img_dim), *[kernels.empty(spec.batch, spec.z_dim) for _ in range(2)])
            for _ in inputs.batches
        ]
        self.feed(inputs.batches, inputs.state)

    def reset(self) -> None:
        self.iteration.load(self._start)
        self._next_batch = itertools.cycle(self._batches).__next__
        self.result = (self.iteration.state, ())

    def __call__(self) -> None:
        rows, z_d, z_g = self._next_batch()
        self.iteration(rows, z_d, z_g, *self._loss_views)

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize()
        live = self._operation.collect(self.iteration.state, self._last_losses())
        return [self._backend.to_numpy(array) for array in live]

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        for (rows, *noise), (real, *fresh) in zip(self._batches, batches, strict=True):
            self._kernels.copy(real, rows[: len(real)])
            for target, source in zip(noise, fresh, strict=True):
                self._kernels.copy(source, target)
        self._next_batch = itertools.cycle(self._batches).__next__
        if state is not None:
            self._start = state
            self.reset()

    def _last_losses(self) -> tuple[Array, Array]:
        return self._loss_views

    def losses(self) -> tuple[Array, Array]:
        kept = self._kernels.empty(2)
        self._kernels.copy(self._losses, kept)
        return kept[0], kept[1]


def views(flat: Array, layers: Sequence[Layer]) -> list[Array]:
    """Return one view into ``flat`` per parameter of a network, in the order backends receive them."""
    cut, start = [], 0
    for _, shape in parameters(layers):
        end = start + math.prod(shape)
        cut.append(flat[start:end].reshape(shape))
        start = end
    return cut
