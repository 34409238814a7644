"""The gate: whatever is wrong with a backend, its time is not published, and the reason says what is wrong."""

import re

import numpy as np
import pytest
from faults import FAULTS, OneElement, StaleDiscriminator, WrongDtype
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.gan import GANSpec, preset
from ganbench.operations import operation, operations_of
from ganbench.operations.layers import Matmul
from ganbench.operations.networks import GANIteration
from ganbench.testing import answers, images
from ganbench.verification.gate import TOLERANCES, verify

TINY = preset("tiny")
SQUARE = GANSpec(name="square", generator=(12, 12, 20), discriminator=(20, 12, 1), batch=16, batch_norm=True)


def gate(backend, case, dtype="float32", precision="ieee"):
    expected = answers(case, dtype, precision)
    inputs = case.inputs(expected.seed, dtype, images(case))
    return verify(backend.prepare(case, inputs), case, expected, dtype, precision)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", operations_of(SQUARE))
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


@pytest.mark.parametrize(
    ("backend", "name", "reason"), FAULTS, ids=[f"{backend.__name__}-{name}" for backend, name, _ in FAULTS]
)
def test_a_fault_is_caught_and_named(backend, name, reason):
    found = gate(backend(), operation(name, SQUARE))
    assert not found.passed
    assert re.search(reason, found.reason), found.reason


# Faults of the form, not of the numbers, are the same in every precision; the rest must show through its noise.
# These are no faults there, or move less than honest rounding does.
NUMERICAL = [
    (fault, name)
    for fault, name, reason in FAULTS
    if ("is off by" in reason or "params" in reason) and fault not in (WrongDtype, OneElement, StaleDiscriminator)
]


@pytest.mark.parametrize(
    ("backend", "name"), NUMERICAL, ids=[f"{backend.__name__}-{name}" for backend, name in NUMERICAL]
)
@pytest.mark.parametrize("precision", ["tf32", "mixed"])
def test_a_fault_shows_through_the_noise_of_tf32_and_halves(backend, name, precision):
    if precision == "mixed":
        found = gate(backend(), operation(name, SQUARE), "float16", "mixed")
    else:
        found = gate(type("OnTensorCores", (backend, TensorCores), {})(), operation(name, SQUARE), "float32", "tf32")
    assert not found.passed


@pytest.mark.parametrize("name", operations_of(SQUARE))
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
        drawn = super().inputs(seed, dtype, images)
        return drawn._replace(batches=[(np.zeros_like(a), b) for a, b in drawn.batches])


class AlmostZero(NumpyBackend):
    def matmul(self, a, b):
        return a @ b + np.float32(1e-30)


def test_zero_where_the_reference_is_zero_passes():
    found = gate(NumpyBackend(), ZeroProduct(16, 16, 36))
    assert found.passed
    assert found.max_rel_error == 0


def test_anything_where_the_reference_is_zero_fails():
    assert "'c' is off by inf" in gate(AlmostZero(), ZeroProduct(16, 16, 36)).reason


class Nothing(Matmul):
    """An operation that names no output, so that nothing could ever be wrong with it."""

    def outputs(self):
        return []

    def collect(self, state, results):
        return []


def test_an_empty_comparison_fails():
    found = gate(NumpyBackend(), Nothing(16, 16, 36))
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

    def _column_sums(self, x, dtype):
        """Only products are rounded; NumPy's way to sum is one."""
        return super()._column_sums(x.view(np.ndarray), dtype).view(Tensor)


def test_rounding_to_tf32():
    assert to_tf32(np.float32([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-12])).tolist() == [
        1 + 2**-10,
        1.0,
        1 + 2**-9,
        1.0,
    ]


MNIST = preset("mnist-mlp")
PRODUCTS = [operation(name, MNIST) for name in ("matmul", "matmul_grad", "generator_forward", "discriminator_forward")]


@pytest.mark.large
@pytest.mark.parametrize("case", [*PRODUCTS, GANIteration(TINY)], ids=lambda case: case.name)
def test_tf32_passes_for_tf32_and_not_for_float32(case):
    ieee, tf32 = (gate(TensorCores(), case, precision=precision) for precision in ("ieee", "tf32"))
    assert "is off by" in ieee.reason
    assert tf32.passed, tf32.reason


@pytest.mark.large
def test_tf32_training_does_not_pass_for_float32():
    assert "params W2' is off by" in gate(TensorCores(), GANIteration(MNIST)).reason
