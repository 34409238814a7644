"""The gate: whatever is wrong with a backend, its time is not published, and the reason says what is wrong."""

import copy
import re

import numpy as np
import pytest
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.backend import BoundProgram, GANState
from ganbench.gan import GANSpec, preset
from ganbench.operation import Inputs
from ganbench.operations import OPERATIONS, operation
from ganbench.operations.layers import Matmul
from ganbench.operations.networks import GANIteration
from ganbench.testing import answers, images
from ganbench.verification.gate import TOLERANCES, verify

TINY = preset("tiny")
SQUARE = GANSpec(name="square", generator=(12, 12, 20), discriminator=(20, 12, 1), batch=16, batch_norm=True)


def gate(backend, case, dtype="float32", precision="ieee"):
    expected = answers(case, dtype, precision)
    inputs = case.inputs(expected.seed, dtype, images(case.spec))
    return verify(backend.prepare(case, inputs), case, expected, dtype, precision)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_correct_backend_passes(name, dtype):
    found = gate(NumpyBackend(), operation(name, SQUARE), dtype)
    assert found.passed, found.reason
    assert 0 <= found.max_rel_error < TOLERANCES[dtype, "ieee"]
    assert {entry.iterations for entry in found.errors} == {1, 8}


def test_errors_are_taken_over_groups():
    found = gate(NumpyBackend(), GANIteration(SQUARE))
    groups = {f"{role} {part}" for role in ("generator", "discriminator") for part in ("params", "m", "v")}
    groups |= {"generator running mean", "generator running var", "d_loss", "g_loss"}
    assert {(entry.group, entry.iterations) for entry in found.errors} == {(g, n) for g in groups for n in (1, 8)}


# Backends with one fault each -----------------------------------------------------------------------------


class WrongSlope(NumpyBackend):
    """Lets the gradient through where the ReLU did not let the value through."""

    def _through_activation(self, name, out, grad):
        return grad if name == "relu" else super()._through_activation(name, out, grad)


class TransposedWeightGradient(NumpyBackend):
    def _backward(self, *args):
        grads = super()._backward(*args)
        return [grad.T if grad.ndim == 2 and grad.shape[0] == grad.shape[1] else grad for grad in grads]


class NoGradientThroughStatistics(NumpyBackend):
    def batch_norm_grad(self, x, gamma, beta, eps, grad):
        _, grad_gamma, grad_beta = super().batch_norm_grad(x, gamma, beta, eps, grad)
        return grad * gamma / np.sqrt(x.var(axis=0) + x.dtype.type(eps)), grad_gamma, grad_beta


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

    def gan_iteration(self, spec, state, real, z_d, z_g):
        right, d_loss, _ = super().gan_iteration(spec, copy.deepcopy(state), real, z_d, z_g)
        stale, _, g_loss = FrozenDiscriminator().gan_iteration(spec, state, real, z_d, z_g)
        return GANState(stale.generator, right.discriminator, right.step), d_loss, g_loss


class NotDetached(NumpyBackend):
    """Lets the D step move G too, along the gradient of d_loss."""

    def gan_iteration(self, spec, state, real, z_d, z_g):
        moved, d, step = copy.deepcopy(state.generator), state.discriminator, state.step + 1
        made = self._forward(spec.generator_layers, moved.params, z_d, moved.running)
        judged = self._forward(spec.discriminator_layers, d.params, made[-1])
        grad = self._sigmoid(judged[-1]) / spec.batch
        grad = self._input_gradient(spec.discriminator_layers, d.params, judged, grad)
        grads = self._backward(spec.generator_layers, moved.params, made, grad)
        self.adam_step(spec, moved.params, grads, moved.m, moved.v, step)
        after, *losses = super().gan_iteration(spec, state, real, z_d, z_g)
        for new, before, other in zip(after.generator.params, state.generator.params, moved.params, strict=True):
            new += other - before
        return after, *losses


class SwappedNoise(NumpyBackend):
    def gan_iteration(self, spec, state, real, z_d, z_g):
        return super().gan_iteration(spec, state, real, z_g, z_d)


class FrozenStatistics(NumpyBackend):
    @staticmethod
    def _mix(old, new):
        pass


class SwappedLosses(NumpyBackend):
    def gan_iteration(self, spec, state, real, z_d, z_g):
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

    def gan_iteration(self, spec, state, real, z_d, z_g):
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
    (FourIterations, "matmul", r"a call performs 4 iterations; the oracle answers \[1, 8\]"),
    (NoReset, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (NoReset, "adam_step", "'(params|m|v) .*' is off by .* after 1 iteration "),
    (ChangesImages, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (ChangesGradients, "adam_step", "'(params|m|v) .*' is off by"),
    (SharesTheHostArrays, "gan_iteration", "'(generator|discriminator) .*' is off by .* after 1 iteration "),
    (OneElement, "matmul", "'c' is off by"),
]


@pytest.mark.parametrize(
    ("backend", "name", "reason"), FAULTS, ids=[f"{backend.__name__}-{name}" for backend, name, _ in FAULTS]
)
def test_a_fault_is_caught_and_named(backend, name, reason):
    found = gate(backend(), operation(name, SQUARE))
    assert not found.passed
    assert re.search(reason, found.reason), found.reason


# Faults of the form, not of the numbers, are the same in every precision; the rest must show through its noise.
NUMERICAL = [(fault, name) for fault, name, reason in FAULTS if "is off by" in reason or "params" in reason]


@pytest.mark.parametrize(
    ("backend", "name"), NUMERICAL, ids=[f"{backend.__name__}-{name}" for backend, name in NUMERICAL]
)
@pytest.mark.parametrize("precision", ["tf32", "mixed"])
def test_a_fault_shows_through_the_noise_of_tf32_and_halves(backend, name, precision):
    if backend in (WrongDtype, OneElement, StaleDiscriminator):
        pytest.skip("no fault, or one that moves less than honest rounding does in this precision")
    if precision == "mixed":
        found = gate(backend(), operation(name, SQUARE), "float16", "mixed")
    else:
        found = gate(type("OnTensorCores", (backend, TensorCores), {})(), operation(name, SQUARE), "float32", "tf32")
    assert not found.passed


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("precision", ["tf32", "mixed"])
def test_honest_arithmetic_passes_in_tf32_and_halves(name, precision):
    backend, dtype = (NumpyBackend(), "float16") if precision == "mixed" else (TensorCores(), "float32")
    found = gate(backend, operation(name, SQUARE), dtype, precision)
    assert found.passed, found.reason


def test_a_fault_in_float64_that_float32_would_hide():
    class Slightly(NumpyBackend):
        def matmul(self, a, b):
            return (a @ b) * (1 + 1e-9)

    assert gate(Slightly(), operation("matmul", TINY), "float32").passed
    assert "'c' is off by 1e-09 " in gate(Slightly(), operation("matmul", TINY), "float64").reason


def test_the_program_is_left_reset():
    case = GANIteration(TINY)
    expected = answers(case, "float64")
    program = NumpyBackend().prepare(case, case.inputs(expected.seed, "float64", images(TINY)))
    assert verify(program, case, expected, "float64").passed
    program()
    for array, answer in zip(program.outputs(), expected.after[1], strict=True):
        assert np.allclose(array, answer, rtol=1e-9, atol=0)


# Nothing to divide by, nothing to compare ----------------------------------------------------------------


class ZeroProduct(Matmul):
    """A product whose every element is 0."""

    def inputs(self, seed, dtype, images):
        a, b = super().inputs(seed, dtype, images).fixed
        return Inputs((np.zeros_like(a), b), None, [()])


class AlmostZero(NumpyBackend):
    def matmul(self, a, b):
        return a @ b + np.float32(1e-30)


def test_zero_where_the_reference_is_zero_passes():
    found = gate(NumpyBackend(), ZeroProduct(TINY))
    assert found.passed
    assert found.max_rel_error == 0


def test_anything_where_the_reference_is_zero_fails():
    assert "'c' is off by inf" in gate(AlmostZero(), ZeroProduct(TINY)).reason


class Nothing(Matmul):
    """An operation that names no output, so that nothing could ever be wrong with it."""

    def outputs(self):
        return []

    def collect(self, state, results):
        return []


def test_an_empty_comparison_fails():
    found = gate(NumpyBackend(), Nothing(TINY))
    assert found.reason == "there was nothing to compare"
    assert not found.passed
    assert np.isnan(found.max_rel_error)


# A small tensor is judged with its group ------------------------------------------------------------------


def test_the_last_bias_is_judged_with_its_network():
    """Its gradient is a difference of nearly equal numbers: honest rounding may leave few digits of it."""

    class LastBias(NumpyBackend):
        def gan_iteration(self, spec, state, *batch):
            state, *losses = super().gan_iteration(spec, state, *batch)
            state.discriminator.m[-1][...] *= 1 + 1e-5
            return state, *losses

    assert gate(LastBias(), GANIteration(TINY)).passed


# TF32 is not float32 ------------------------------------------------------------------------------------


def to_tf32(array):
    """Return ``array`` rounded to the nearest float with 10 bits of mantissa, ties to even."""
    bits = array.view(np.uint32)
    return ((bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)).view(
        np.float32
    )


class Tensor(np.ndarray):
    """An array whose products take their factors as a tensor core does: rounded, and summed in float32."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        inputs = [value.view(np.ndarray) if isinstance(value, Tensor) else value for value in inputs]
        if out:
            kwargs["out"] = tuple(value.view(np.ndarray) for value in out)
        if ufunc is np.matmul:
            inputs = [to_tf32(np.ascontiguousarray(value)) for value in inputs]
        result = getattr(ufunc, method)(*inputs, **kwargs)
        if out:
            return out[0]
        return result.view(Tensor) if isinstance(result, np.ndarray) else result


class TensorCores(NumpyBackend):
    def from_numpy(self, array):
        return super().from_numpy(array).view(Tensor)


def test_rounding_to_tf32():
    assert to_tf32(np.float32([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-12])).tolist() == [
        1 + 2**-10,
        1.0,
        1 + 2**-9,
        1.0,
    ]


MNIST = preset("mnist-mlp")
PRODUCTS = [operation(name, MNIST) for name in ("matmul", "matmul_grad", "generator_forward", "discriminator_forward")]


@pytest.mark.parametrize("case", [*PRODUCTS, GANIteration(TINY)], ids=lambda case: case.name)
def test_tf32_passes_for_tf32_and_not_for_float32(case):
    ieee, tf32 = (gate(TensorCores(), case, precision=precision) for precision in ("ieee", "tf32"))
    assert f"is off by {ieee.max_rel_error:.2g}" in ieee.reason
    assert tf32.passed, tf32.reason


def test_tf32_training_does_not_pass_for_float32():
    assert "tolerance 1e-05" in gate(TensorCores(), GANIteration(MNIST)).reason
