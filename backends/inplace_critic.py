"""The iteration of a Wasserstein GAN with gradient penalty in place.

D works on blocks of B rows that lie in one buffer for each layer: first those of the penalty, then real, fake and mixed
rows. So one product gives what all of them add to a weight's gradient. docs/workload.md has the formulas and their
names: what goes down from the output is p, what goes up again is γ.
"""

from collections.abc import Sequence

import numpy as np

from ganbench.backend import Array, GANState
from ganbench.gan import CURVED, GANSpec

from .inplace import Iteration, Kernels, Rows


class CriticIteration(Iteration):
    """An ``Iteration`` with several steps on D, each with the gradient of a gradient."""

    blocks = 4

    def __init__(self, kernels: Kernels, spec: GANSpec, start: GANState) -> None:
        self._critic_count = kernels.counter()
        super().__init__(kernels, spec, start)
        b, judged = spec.batch, self._judged
        self._rows = kernels.empty(4 * b, spec.img_dim)
        self._gamma, self._real, self._fake, self._mixed = (self._rows[n * b : (n + 1) * b] for n in range(4))
        self._judged_fake = judged.cut(b, 2 * b)
        self._passed = judged.cut(b, 4 * b)  # what is seen forward
        self._both = judged.cut(b, 3 * b)  # real and fake rows
        self._bent = judged.cut(3 * b, 4 * b)  # mixed rows
        self._down = Rows.of(self._bent.outs, judged.cut(0, b).deltas)
        self._up = judged.cut(0, b).outs  # γ of each layer
        kernels.copy(np.ones((b, 1)), self._down.deltas[-1])  # nobody else writes there
        # Mixed rows take part in the ordinary backward pass as far up as activations curve.
        layers = self.discriminator.layers
        inputs = [self._rows, *judged.outs[:-1]]
        self._ends = [(4 if index < spec.curved else 3) * b for index in range(len(layers))]
        self._deltas = [delta[b:end] for delta, end in zip(judged.deltas, self._ends, strict=True)]
        self._below = [delta[b:end] for delta, end in zip(judged.deltas, self._ends[1:], strict=False)]
        self._products = [
            (delta[:end].T, rows[:end]) for delta, rows, end in zip(judged.deltas, inputs, self._ends, strict=True)
        ]
        written = [*self._below, self._both.deltas[-1]]  # by the product of the layer above
        self._through = [(out[b : b + len(d)], d) for out, d in zip(judged.outs, written, strict=True)]
        self._bends = [
            (kernels.empty(b, layer.n_out) if index + 1 < spec.curved else self._bent.deltas[index])
            for index, layer in enumerate(layers[: spec.curved])
        ]

    def load(self, start: GANState) -> None:
        super().load(start)
        self.kernels.set_step(self.spec, self._critic_count, self.step * self.spec.critic_steps)

    def places(self) -> tuple[Array, ...]:
        """Return where real images, the noise of both networks and u are staged."""
        spec, empty = self.spec, self.kernels.empty
        steps, b = spec.critic_steps, spec.batch
        return empty(steps, b, spec.img_dim), empty(steps, b, spec.z_dim), empty(b, spec.z_dim), empty(steps, b, 1)

    def __call__(self, batch: Sequence[Array], reported: Sequence[Array]) -> None:
        (real, z_d, z_g, u), (d_loss, g_loss, penalty) = batch, reported
        self.kernels.begin_step(self.spec, self._count)
        self.step += 1
        for turn in range(self.spec.critic_steps):
            self._step_on_critic(real[turn], z_d[turn], u[turn], d_loss, penalty)
        self._step_on_generator(z_g, g_loss)

    def _step_on_critic(self, real: Array, z: Array, u: Array, d_loss: Array, penalty: Array) -> None:
        kernels, spec, both = self.kernels, self.spec, self._both
        kernels.begin_step(spec, self._critic_count)
        kernels.copy(real, self._real)
        self._forward(self.generator, z, self._made, last=self._fake)
        kernels.mix(self._real, self._fake, u, self._mixed)
        self._forward(self.discriminator, self._rows[spec.batch :], self._passed)
        kernels.weigh(both.outs[-1], self._d_loss, d_loss, both.deltas[-1])
        self._to_input(self._down, self._gamma)
        kernels.penalise(self._gamma, spec.penalty, penalty, d_loss)
        self._to_output()
        self._backward_all()
        kernels.adam(spec, self._critic_count, self.discriminator.flat)

    def _to_output(self) -> None:
        """Carry γ up to D's last hidden layer; leave there, and where an activation curves, what it bends."""
        kernels, network, gamma = self.kernels, self.discriminator, self._gamma
        for index, layer in enumerate(network.layers[:-1]):
            out, pi = self._bent.outs[index], self._up[index]
            kernels.product(gamma, network.transposed[index], pi)
            if layer.activation in CURVED:
                kernels.bend(layer.activation, out, self._down.deltas[index], pi, self._bends[index])
            kernels.through(layer.activation, out, pi)
            gamma = pi

    def _backward_all(self) -> None:
        """Fill D's gradients from all blocks."""
        kernels, network = self.kernels, self.discriminator
        for index in range(len(network.layers) - 1, -1, -1):
            layer, (w, _), (grad_w, grad_b) = network.layers[index], network.cut[index], network.cut_grads[index]
            kernels.through(layer.activation, *self._through[index])
            if layer.activation in CURVED and index + 1 < self.spec.curved:
                kernels.add(self._bends[index], self._bent.deltas[index])
            kernels.column_sums(self._deltas[index], grad_b)
            kernels.product(*self._products[index], grad_w)
            if index:
                kernels.product(self._deltas[index], w, self._below[index - 1])
