"""Backends with one fault each, and what the gate must say of it."""

import copy

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.backend import BoundProgram, GANState

# Backends with one fault each -----------------------------------------------------------------------------


class WrongSlope(NumpyBackend):
    """Lets the gradient through where the ReLU did not let the value through."""

    def _activation_grad(self, name, out, grad):
        return grad if name == "relu" else super()._activation_grad(name, out, grad)


class TransposedWeightGradient(NumpyBackend):
    def _backward(self, *args, **how):
        grads, grad = super()._backward(*args, **how)
        return [one.T if one.ndim == 2 and one.shape[0] == one.shape[1] else one for one in grads], grad


class NoGradientThroughStatistics(NumpyBackend):
    def _normalised_grad(self, x_hat, scale, gamma, grad):
        _, grad_gamma, grad_beta = super()._normalised_grad(x_hat, scale, gamma, grad)
        return self._cast(grad * gamma * scale, grad.dtype), grad_gamma, grad_beta


class UnbiasedVariance(NumpyBackend):
    def batch_norm(self, x, gamma, beta, eps):
        y, mean, var = super().batch_norm(x, gamma, beta, eps)
        return y, mean, var * (len(x) / (len(x) - 1))


class NoBiasCorrection(NumpyBackend):
    def adam_step(self, spec, params, grads, m, v, step):
        return super().adam_step(spec, params, grads, m, v, 1000)


class StepCountsFromZero(NumpyBackend):
    def adam_step(self, spec, params, grads, m, v, step):
        return super().adam_step(spec, params, grads, m, v, max(1, step - 1))


class FrozenDiscriminator(NumpyBackend):
    """Leaves out the first of an iteration's two Adam steps, which is D's."""

    steps = 0

    def adam_step(self, spec, params, grads, m, v, step):
        self.steps += 1
        if self.steps % 2:
            return params, m, v
        return super().adam_step(spec, params, grads, m, v, step)


class StaleDiscriminator(NumpyBackend):
    """Trains G against D as it was before its step."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        right, d_loss, _ = super().gan_iteration(spec, copy.deepcopy(state), real, z_d, z_g)
        stale, _, g_loss = FrozenDiscriminator().gan_iteration(spec, state, real, z_d, z_g)
        return GANState(stale.generator, right.discriminator, right.step), d_loss, g_loss


class NotDetached(NumpyBackend):
    """Lets the D step move G too, along the gradient of d_loss."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        moved, d, step = copy.deepcopy(state.generator), state.discriminator, state.step + 1
        made = self._forward(spec.generator_layers, moved.params, z_d, moved.running)
        judged = self._forward(spec.discriminator_layers, d.params, made[-1])
        grad = self._sigmoid(judged[-1]) / spec.batch
        _, grad = self._backward(spec.discriminator_layers, d.params, judged, grad, only_input=True)
        grads, _ = self._backward(spec.generator_layers, moved.params, made, grad)
        self.adam_step(spec, moved.params, grads, moved.m, moved.v, step)
        after, *losses = super().gan_iteration(spec, state, real, z_d, z_g)
        for new, before, other in zip(after.generator.params, state.generator.params, moved.params, strict=True):
            new += other - before
        return after, *losses


class SwappedNoise(NumpyBackend):
    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        return super().gan_iteration(spec, state, real, z_g, z_d)


class FrozenStatistics(NumpyBackend):
    def _forward(self, layers, params, x, running=()):
        return super()._forward(layers, params, x)


class SwappedLosses(NumpyBackend):
    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        state, d_loss, g_loss = super().gan_iteration(spec, state, real, z_d, z_g)
        return state, g_loss, d_loss


class NotANumber(NumpyBackend):
    def discriminator_forward(self, spec, params, x):
        logits = super().discriminator_forward(spec, params, x)
        logits[-1] = np.nan
        return logits


class Infinite(NumpyBackend):
    def generator_forward(self, spec, params, z):
        made = super().generator_forward(spec, params, z)
        made[0, 0] = np.inf
        return made


class WrongDtype(NumpyBackend):
    def to_numpy(self, array):
        return np.array(array, dtype=np.float64)


class MissingOutput(NumpyBackend):
    def matmul_grad(self, a, b, grad):
        return super().matmul_grad(a, b, grad)[:1]


class WrongShape(NumpyBackend):
    def batch_norm(self, x, gamma, beta, eps):
        y, mean, var = super().batch_norm(x, gamma, beta, eps)
        return y, mean, var[None]


class EmptyResult(NumpyBackend):
    def matmul(self, a, b):
        return (a @ b)[:0]


class _Stuck(BoundProgram):
    """Keeps its state when it is told to reset."""

    def reset(self):
        if self.result is None:
            super().reset()


class NoReset(NumpyBackend):
    def prepare(self, case, inputs):
        return _Stuck(self, case, inputs)


class _Silent(BoundProgram):
    def outputs(self):
        return []


class NoOutputs(NumpyBackend):
    def prepare(self, case, inputs):
        return _Silent(self, case, inputs)


class _Odd(BoundProgram):
    iterations = 4


class FourIterations(NumpyBackend):
    def prepare(self, case, inputs):
        return _Odd(self, case, inputs)


class ChangesImages(NumpyBackend):
    """Uses the staged images as scratch space once it has read them."""

    def gan_iteration(self, spec, state, real, z_d, z_g, u=None):
        result = super().gan_iteration(spec, state, real, z_d, z_g)
        real *= 0.5
        return result


class ChangesGradients(NumpyBackend):
    def adam_step(self, spec, params, grads, m, v, step):
        result = super().adam_step(spec, params, grads, m, v, step)
        for grad in grads:
            grad *= 0.5
        return result


class SharesTheHostArrays(NumpyBackend):
    """Trains the arrays it was given, so that there is nothing left to reset to."""

    def from_numpy(self, array):
        return array if array.any() else array.copy()  # but not the moments, which start as one array of zeros


class OneElement(NumpyBackend):
    """Right but for one number of many."""

    def matmul(self, a, b):
        c = a @ b
        c[3, 5] *= 1.01
        return c


FAULTS = [
    (WrongSlope, "gan_iteration", "'(generator|discriminator) [mv] W1' is off by"),
    (TransposedWeightGradient, "gan_iteration", "'generator [mv] W1' is off by"),
    (NoGradientThroughStatistics, "batch_norm_grad", "'grad_x' is off by"),
    (NoGradientThroughStatistics, "gan_iteration", "'generator [mv] W1' is off by"),
    (UnbiasedVariance, "batch_norm", "'var' is off by"),
    (NoBiasCorrection, "adam_step", "'params W[12]' is off by"),
    (NoBiasCorrection, "gan_iteration", "'(generator|discriminator) (params|[mv]) "),
    (StepCountsFromZero, "adam_step", "'params W[12]' is off by"),
    (StaleDiscriminator, "gan_iteration", "'generator [mv] .*' is off by"),
    (NotDetached, "gan_iteration", "'(generator|discriminator) (params|[mv]) "),
    (SwappedNoise, "gan_iteration", "'(generator|discriminator) (params|[mv]) "),
    (FrozenStatistics, "gan_iteration", "'generator (mean|var)1' is off by"),
    (SwappedLosses, "gan_iteration", "'[dg]_loss' is off by"),
    (NotANumber, "discriminator_forward", "'logits' is not finite after 8 iterations"),
    (Infinite, "generator_forward", "'images' is not finite after 8 iterations"),
    (WrongDtype, "matmul", "'c' is float64 instead of float32"),
    (WrongDtype, "gan_iteration", "'generator params W1' is float64 instead of float32"),
    (MissingOutput, "matmul_grad", "1 outputs instead of 2"),
    (WrongShape, "batch_norm", r"'var' has shape \(1, 12\) instead of \(12,\)"),
    (EmptyResult, "matmul", r"'c' has shape \(0, 20\) instead of \(16, 20\)"),
    (NoOutputs, "matmul", "0 outputs instead of 1"),
    (NoOutputs, "gan_iteration", "0 outputs instead of 31"),
    (FourIterations, "matmul", r"one call makes 4 iterations, but the reference was computed after \[1, 8\]"),
    (NoReset, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (NoReset, "adam_step", "'(params|m|v) .*' is off by .* after 1 iteration "),
    (ChangesImages, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (ChangesGradients, "adam_step", "'(params|m|v) .*' is off by"),
    (SharesTheHostArrays, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (OneElement, "matmul", "'c' is off by"),
]
