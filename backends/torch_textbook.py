"""The loop that most tutorials print, in PyTorch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ganbench.array_ops import steps_on_d
from ganbench.backend import Array, Backend, BoundProgram, NetworkState
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE
from ganbench.layers import Conv, Dense, Layer, Reshape
from ganbench.losses import Terms
from ganbench.operation import Inputs, Operation


class Textbook(BoundProgram):
    """The loop as tutorials print it: 1.43 times the FLOP of the minimum for the same result.

    D learns from a fake batch that was not detached, so autograd also runs back through G; in the G step
    D's weight gradients are computed and thrown away by the next ``zero_grad``. With a penalty, D sees real, fake and
    mixed rows one after the other, as it always does here.

    With convolutions it is pytorch/examples/dcgan, which detaches: 1.08 times the FLOP of the minimum for dcgan-64.
    """

    def __init__(self, backend: Backend, torch: Any, operation: Operation, inputs: Inputs) -> None:
        self._torch, self._spec = torch, operation.spec
        super().__init__(backend, operation, inputs, lambda fixed, state, batch: (state, self._iterate(*batch)))

    def reset(self) -> None:
        """New modules and optimisers, which then change the arrays of the state in place."""
        super().reset()
        spec, step = self._spec, int(self._start.step)
        self._g, self._adam_g = self._network(spec.generator_layers, self._state.generator, step)
        steps = step * spec.critic_steps
        self._d, self._adam_d = self._network(spec.discriminator_layers, self._state.discriminator, steps)
        if spec.objective.d.phi == "softplus":
            self._d.append(self._torch.nn.Sigmoid())

    def _network(self, layers: Sequence[Layer], start: NetworkState, step: int) -> tuple[Any, Any]:
        """Return an ``nn.Sequential`` and its Adam, both of the arrays of ``start``."""
        nn, spec = self._torch.nn, self._spec
        modules: list[Any] = []
        activations = {
            "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "leaky_relu": partial(nn.LeakyReLU, LEAKY_SLOPE)
        }  # fmt: skip
        for layer in layers:
            modules.append(_module(nn, layer))
            if layer.batch_norm:
                kind = nn.BatchNorm1d if len(layer.out_shape) == 1 else nn.BatchNorm2d
                modules.append(kind(layer.channels, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM))
            if layer.activation != "identity":
                modules.append(activations[layer.activation]())
        network = nn.Sequential(*modules)
        for parameter, value in zip(network.parameters(), start.params, strict=True):
            parameter.data = value
        buffers = [buffer for name, buffer in network.named_buffers() if "running" in name]
        for buffer, value in zip(buffers, start.running, strict=True):
            buffer.data = value
        adam = self._torch.optim.Adam(network.parameters(), lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps)
        for parameter, m, v in zip(network.parameters(), start.m, start.v, strict=True):
            adam.state[parameter] = {"step": self._torch.tensor(float(step)), "exp_avg": m, "exp_avg_sq": v}
        return network.to(self._backend.device), adam

    def _iterate(self, *batch: Array) -> tuple[Array, ...]:
        """Train on one batch; return what is reported."""
        (real, z_d, z_g, *u), spec = batch, self._spec
        reported: tuple[Array, ...] = ()
        for rows, noise, share in steps_on_d(spec, real, z_d, *u or [None]):
            fake = self._g(noise)
            if spec.convolutional:  # tutorials of DCGAN do detach
                fake = fake.detach()
            d_loss = self._loss(spec.objective.d, self._d(rows), self._d(fake))
            if share is not None:
                penalty = spec.penalty * self._gradient_penalty(rows, fake, share)
                d_loss, reported = d_loss + penalty, (penalty.detach(),)
            self._adam_d.zero_grad()
            d_loss.backward()
            self._adam_d.step()

        g_loss = self._loss(spec.objective.g, self._d(self._g(z_g)))
        self._adam_g.zero_grad()
        g_loss.backward()
        self._adam_g.step()
        return d_loss.detach(), g_loss.detach(), *reported

    def _loss(self, terms: Terms, *outputs: Array) -> Array:
        """Return the loss of what D says, as the modules of ``torch.nn`` have it: a probability for ``BCELoss``."""
        torch, found = self._torch, []
        for sign, shift, output in zip(terms.signs, terms.shifts, outputs, strict=True):
            if terms.phi == "softplus":  # softplus(−logit) is −log p
                found.append(torch.nn.BCELoss()(output, torch.full_like(output, sign < 0)))
            elif terms.phi == "square":
                found.append(torch.nn.MSELoss()(sign * output, torch.full_like(output, -shift)))
            else:
                term = sign * output + shift
                found.append((torch.relu(term) if terms.phi == "relu" else term).mean())
        return terms.weight * sum(found)

    def _gradient_penalty(self, real: Array, fake: Array, share: Array) -> Array:
        mixed = (share * real + (1 - share) * fake.detach()).requires_grad_()
        logits = self._d(mixed)
        (slopes,) = self._torch.autograd.grad(logits, mixed, self._torch.ones_like(logits), create_graph=True)
        return ((slopes.norm(2, dim=1) - 1) ** 2).mean()


def _module(nn: Any, layer: Layer) -> Any:
    """Return the module of a layer's linear part."""
    if isinstance(layer, Reshape):
        return nn.Flatten() if len(layer.after) == 1 else nn.Unflatten(1, layer.after)
    bias = layer.bias and not layer.batch_norm
    if isinstance(layer, Dense):
        return nn.Linear(layer.n_in, layer.n_out, bias=bias)
    window, kind = layer.window, nn.Conv2d if isinstance(layer, Conv) else nn.ConvTranspose2d  # type: ignore[attr-defined]
    return kind(layer.in_shape[0], layer.channels, window.kernel, window.stride, window.padding, bias=bias)
