"""An iteration with a gradient penalty in place.

D works on blocks of B rows that lie in one buffer for each layer: first those of the penalty, then real, fake and mixed
rows. So one product gives what all of them add to a weight's gradient. docs/workload.md has the formulas and their
names: what goes down from the output is p, what goes up again is γ.
"""

import numpy as np

from ganbench.backend import Array, GANState
from ganbench.gan import GANSpec
from ganbench.layers import smooth_depth

from .inplace import Iteration, Kernels
from .inplace_buffers import Into


class PenalisedIteration(Iteration):
    """An ``Iteration`` whose steps on D take the gradient of a gradient."""

    blocks = 4

    def __init__(self, kernels: Kernels, spec: GANSpec, start: GANState) -> None:
        super().__init__(kernels, spec, start)
        b, seen, layers = spec.batch, self._seen, self.discriminator.layers
        self._rows = kernels.empty(4 * b, spec.img_dim)
        self._gamma, self._real, self._fake, self._mixed = (self._rows[n * b : (n + 1) * b] for n in range(4))
        self._seen_fake = seen.cut(b, 2 * b)
        self._seen_forward = seen.cut(b, 4 * b)
        self._seen_both = seen.cut(b, 3 * b)  # real and fake rows
        self._seen_mixed = seen.cut(3 * b, 4 * b)
        self._down = seen.cut(0, b, self._seen_mixed.outs)
        self._up = seen.cut(0, b).outs  # γ of each layer
        kernels.copy(np.ones((b, 1)), self._down.deltas[-1])  # nobody else writes there
        # Mixed rows take part in the ordinary backward pass as far up as activations are smooth.
        self._depth = smooth_depth(layers)
        ends = [(4 if index < self._depth else 3) * b for index in range(len(layers))]
        self._deltas = [seen.cut(b, end).deltas[index] for index, end in enumerate(ends)]
        self._below = [Into(kernels, seen.cut(b, end).deltas[index]) for index, end in enumerate(ends[1:])]
        inputs = [self._rows, *seen.outs[:-1]]
        self._products = [
            (x[: end * (len(x) // (4 * b))], seen.cut(0, end).deltas[index])
            for index, (x, end) in enumerate(zip(inputs, ends, strict=True))
        ]
        written = [*(into.out for into in self._below), self._seen_both.deltas[-1]]  # by the product of the layer above
        self._through = [
            (out[b * layer.pixels :][: len(delta)], delta)
            for layer, out, delta in zip(layers, seen.outs, written, strict=True)
        ]
        self._of_slopes = [  # what the slopes themselves depend on
            kernels.empty(b * layer.pixels, layer.channels)
            if index + 1 < self._depth
            else self._seen_mixed.deltas[index]
            for index, layer in enumerate(layers[: self._depth])
        ]

    def _step_buffers(self) -> tuple[Array, ...]:
        """Real images, noise and u."""
        b = self.spec.batch
        return self.kernels.empty(b, self.spec.img_dim), self._noise_buffer(), self.kernels.empty(b, 1)

    def _step_on_discriminator(self, *args: Array) -> None:
        (real, z, u, d_loss, penalty), both = args, self._seen_both
        kernels, spec = self.kernels, self.spec
        kernels.copy(real, self._real)
        self._forward(self.generator, z, self._made, last=self._fake)
        kernels.mix(self._real, self._fake, u, self._mixed)
        self._forward(self.discriminator, self._rows[spec.batch :], self._seen_forward)
        kernels.loss(both.outs[-1], self._d_loss, d_loss, both.deltas[-1])
        self._to_input(self._down, self._gamma)
        kernels.penalise(self._gamma, spec.penalty, penalty, d_loss)
        self._to_output()
        self._backward_all()

    def _to_output(self) -> None:
        """Carry γ up to D's last hidden layer; leave there, and in ``_of_slopes``, what goes back down."""
        kernels, network, gamma = self.kernels, self.discriminator, self._gamma
        for index, layer in enumerate(network.layers[:-1]):
            out, pi = self._seen_mixed.outs[index], self._up[index]
            layer.forward(gamma, network.own[index][0], Into(kernels, pi))
            if layer.smooth:
                p = self._down.deltas[index]
                kernels.activation_second_grad(layer.activation, out, p, pi, self._of_slopes[index])
            kernels.activation_grad(layer.activation, out, pi)
            gamma = pi

    def _backward_all(self) -> None:
        """Fill D's gradients from all blocks."""
        kernels, network = self.kernels, self.discriminator
        for index in range(len(network.layers) - 1, -1, -1):
            layer, (w, *_), (into, grads) = network.layers[index], network.own[index], network.own_grads[index]
            kernels.activation_grad(layer.activation, *self._through[index])
            if layer.smooth and index + 1 < self._depth:
                kernels.add(self._of_slopes[index], self._seen_mixed.deltas[index])
            if grads:
                kernels.column_sums(self._deltas[index], grads[0])
            if layer.count:
                layer.weight_grad(*self._products[index], into)
            if index > network.first:
                layer.input_grad(self._deltas[index], w, self._below[index - 1])
