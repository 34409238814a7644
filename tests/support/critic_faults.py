"""Backends that get the Wasserstein loss with gradient penalty wrong, each in one way that people have got it wrong."""

import torch
from ganbench.backends.torch_backend import TorchBackend
from msgspec.structs import replace


def slopes_of(backend, spec, params, x, create_graph=True):
    """Return D's slope by its input at each row, as a user of PyTorch takes it."""
    x = x.detach().requires_grad_()
    logits = backend._forward(spec.discriminator_layers, params, x)
    return torch.autograd.grad(logits.sum(), x, create_graph=create_graph)[0]


class NoPenalty(TorchBackend):
    """Leaves the penalty out."""

    def _penalty(self, spec, params, x):
        return 0 * super()._penalty(spec, params, x)


class FirstOrderOnly(TorchBackend):
    """Has the penalty in the loss, but no gradient flows through the slope: ``create_graph`` was forgotten."""

    def _penalty(self, spec, params, x):
        norms = slopes_of(self, spec, params, x, create_graph=False).norm(2, dim=1)
        return spec.penalty * (norms - 1).square().mean() + 0 * params[0].sum()


class NormOverTheBatch(TorchBackend):
    """Takes one norm over all rows instead of one for each."""

    def _penalty(self, spec, params, x):
        return spec.penalty * (slopes_of(self, spec, params, x).norm() - 1).square()


class NotSquared(TorchBackend):
    def _penalty(self, spec, params, x):
        return spec.penalty * (slopes_of(self, spec, params, x).norm(2, dim=1) - 1).mean()


class WeightTwice(TorchBackend):
    """Multiplies by λ twice."""

    def _penalty(self, spec, params, x):
        return spec.penalty * super()._penalty(spec, params, x)


class OneBatch(TorchBackend):
    """Every step on D takes the first batch."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u):
        first = (array[:1].expand_as(array) for array in (real, z_d))
        return super().gan_iteration(spec, state, *first, z_g, u)


class OnRealRows(TorchBackend):
    """Does not use u: the slope is taken at real rows."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u):
        return super().gan_iteration(spec, state, real, z_d, z_g, torch.ones_like(u))


class OneShare(TorchBackend):
    """Takes the first u for all rows."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u):
        return super().gan_iteration(spec, state, real, z_d, z_g, u[:, :1].expand_as(u))


class OneStepLess(TorchBackend):
    """Makes a step on D less, and counts all the same."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u):
        less = replace(spec, critic_steps=spec.critic_steps - 1)
        return super().gan_iteration(less, state, real, z_d, z_g, u)


CRITIC_FAULTS = (
    NoPenalty,
    FirstOrderOnly,
    NormOverTheBatch,
    NotSquared,
    WeightTwice,
    OneBatch,
    OnRealRows,
    OneShare,
    OneStepLess,
)
OF_THE_PENALTY = (NoPenalty, FirstOrderOnly, NormOverTheBatch, NotSquared, WeightTwice)  # alone
