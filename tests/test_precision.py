"""Precision as an axis: what may be combined, how numbers are rounded, and how each is gated."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from ganbench.backends.numpy_backend import NumpyBackend
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from ganbench import registry
from ganbench.backend import BoundProgram
from ganbench.errors import UnsupportedError, UsageError
from ganbench.gan import preset
from ganbench.measure.ceilings import find_ceilings
from ganbench.operations import DEFAULT_OPERATIONS, OPERATIONS, operation, operations_of
from ganbench.operations.rounding import cut, dtype_of, rounded, to_host, widened
from ganbench.precision import BYTES, PRECISIONS, accumulation_dtype, precision_of, titled
from ganbench.testing import TINY_SPECS, answers, images
from ganbench.verification.gate import verify

HALVES = ("bfloat16", "float16")
FLOATS = hnp.arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False))


# What may be combined -----------------------------------------------------------------------------------


def test_every_dtype_has_a_default():
    assert {dtype: precision_of(dtype) for dtype in PRECISIONS} == {
        "float64": "ieee",
        "float32": "ieee",
        "bfloat16": "mixed",
        "float16": "mixed",
    }


@pytest.mark.parametrize(
    ("dtype", "math", "message"),
    [
        ("float8", "", "unknown dtype 'float8' .*bfloat16"),
        ("float32", "tf23", "unknown math 'tf23' .*tf32"),
        ("float64", "tf32", "'tf32' is not valid with float64.* for float32; float64 has ieee"),
        ("float32", "mixed", "'mixed' is not valid with float32.* for bfloat16 or float16; float32 has ieee and tf32"),
        ("float16", "ieee", "'ieee' is not valid with float16.*float16 has mixed"),
        ("bfloat16", "tf32", "'tf32' is not valid with bfloat16"),
    ],
)
def test_what_cannot_be_combined_is_a_usage_error(ganbench_cli, dtype, math, message):
    with pytest.raises(UsageError, match=message):
        precision_of(dtype, math)
    code, out, err = ganbench_cli("compare", "--backends", "numpy", "--dtype", dtype, "--math", math)
    assert (code, out) == (2, "")
    assert err.startswith("ganbench: ")


@pytest.mark.parametrize("dtype", HALVES)
def test_training_in_halves_is_a_usage_error(ganbench_cli, tmp_path, dtype):
    where = ("--epochs", "1", "--output", tmp_path / "out")
    code, _, err = ganbench_cli("train", "--backend", "numpy", "--dtype", dtype, *where)
    assert code == 2
    assert f"dtype '{dtype}' cannot train: valid are float32 and float64" in err


# Rounding -------------------------------------------------------------------------------------------------


@given(FLOATS)
def test_rounding_is_what_torch_and_numpy_do(array):
    bfloat16 = torch.from_numpy(array).to(torch.bfloat16).to(torch.float64).numpy()
    assert np.array_equal(widened(to_host(array, "bfloat16")), bfloat16)
    assert np.array_equal(rounded(array, "bfloat16"), bfloat16)
    with np.errstate(over="ignore"):
        float16 = array.astype(np.float16)
        assert np.array_equal(to_host(array, "float16"), float16)
    assert np.array_equal(rounded(array, "float16"), float16.astype(np.float64))


@given(hnp.arrays(np.float32, 20, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_tf32_keeps_ten_bits(array):
    nearest, towards_zero = rounded(array, "tf32"), cut(array, "tf32")
    normal = np.abs(array) > 1e-37
    exact = array.astype(np.float64)
    assert (np.abs(nearest - exact)[normal] <= 2.0**-11 * np.abs(exact)[normal]).all()
    assert (np.abs(towards_zero) <= np.abs(exact)).all()
    assert (np.abs(towards_zero - exact)[normal] < 2.0**-10 * np.abs(exact)[normal]).all()
    for short in (nearest, towards_zero):
        assert np.array_equal(rounded(short, "tf32"), short)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_host_arrays_say_what_they_are(dtype):
    array = to_host(np.array([1.0, -0.5, 0.0]), dtype)
    assert (dtype_of(array), array.itemsize) == (dtype, BYTES[dtype])
    assert widened(array).tolist() == [1.0, -0.5, 0.0]


# The gate ---------------------------------------------------------------------------------------------------


@pytest.mark.modes
@pytest.mark.parametrize("spec", TINY_SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("label", ["torch", "jax", "jax.scan", "numpy"])
def test_halves_pass_the_gate(label, dtype, spec):
    """Every default operation; what is kept beside the halves comes back as float32."""
    cls, mode = registry.load(label.partition(".")[0]), label.partition(".")[2]
    if cls.lacks("cpu", dtype, "mixed"):
        assert (label, dtype) == ("numpy", "bfloat16")
        return
    backend = cls(mode, precision="mixed")
    for name in ("gan_iteration",) if mode or spec.batch_norm else DEFAULT_OPERATIONS:
        case = operation(name, spec)
        expected = answers(case, dtype)
        inputs = case.inputs(expected.seed, dtype, images(spec))
        program = backend.prepare(case, inputs)
        found = verify(program, case, expected, dtype, "mixed")
        assert found.passed, f"{name}: {found.reason}"
        for array, output in zip(program.outputs(), case.outputs(), strict=False):
            assert dtype_of(array) == (accumulation_dtype(dtype) if output.kept else dtype)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_images_of_torch_have_their_channels_last_in_every_format(dtype):
    staged = registry.load("torch")().from_numpy(to_host(np.ones((2, 3, 4, 5)), dtype))
    assert staged.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_halves_go_and_come_bit_for_bit(name, dtype):
    backend = registry.load(name)(precision="mixed")
    host = to_host(np.random.default_rng(0).standard_normal((5, 7)), dtype)
    for array in (host, host.T, host[::2, 1::3]):
        back = backend.to_numpy(backend.from_numpy(array))
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


def test_what_is_not_computed_in_halves_keeps_the_tolerance_of_float32():
    """Adam's moments and a batch's statistics are float32 beside halves, and TF32 is a matter of products."""
    for name, dtype, math, groups in (
        ("adam_step", "bfloat16", "", {"params", "m", "v"}),
        ("batch_norm", "bfloat16", "", {"mean", "var"}),
        ("batch_norm", "float32", "tf32", {"y", "mean", "var"}),
    ):
        case = operation(name, preset("tiny"))
        expected = answers(case, dtype, math)
        assert {group for (group, _), deviation in expected.deviations.items() if deviation == 0} == groups


@pytest.mark.parametrize("name", OPERATIONS)
def test_bytes_follow_the_dtype(name):
    spec = preset("mnist-mlp-bn")
    case = operation(name, spec if name in operations_of(spec) else preset("dcgan-8"))
    assert case.bytes("float64") == 2 * case.bytes("float32")
    assert case.bytes("bfloat16") == case.bytes("float16")
    assert case.bytes("float32") / 2 <= case.bytes("float16") < case.bytes("float32")


# A run ------------------------------------------------------------------------------------------------------


@pytest.mark.workers
def test_what_a_backend_lacks_is_a_row_that_says_why(ganbench_cli):
    where = ("verify", "--backends", "numpy", "--ops", "matmul", "--preset", "tiny")
    for options, reason in (
        (("--dtype", "bfloat16"), "NumPy has no bfloat16"),
        (("--math", "tf32"), "TF32 needs an NVIDIA GPU"),
    ):
        code, out, _ = ganbench_cli(*where, *options)
        assert code == 1  # nothing was verified
        assert f"unsupported: {reason}" in out


def test_a_mode_that_lacks_halves_says_which_has_them():
    for label in ("torch.textbook", "torch.manual", "numpy.inplace"):
        name, _, mode = label.partition(".")
        case = operation("gan_iteration", preset("tiny"))
        with pytest.raises(UnsupportedError, match=f"{label} has only float32 and float64"):
            registry.load(name)(mode, precision="mixed").prepare(case, case.inputs(0, "float16", images(case)))


@pytest.mark.workers
def test_a_run_in_halves(ganbench_cli, tmp_path):
    code, out, _ = ganbench_cli(
        "compare", "--backends", "numpy", "--preset", "tiny", "--ops", "matmul,gan_iteration", "--dtype", "float16",
        "--rounds", "1", "--results", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert "float16 (mixed precision)" in out.splitlines()[0]
    (path,) = tmp_path.rglob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (lines[0]["dtype"], lines[0]["precision"]) == ("float16", "mixed")
    rows = [line for line in lines if line["type"] == "measurement" and line["operation"] == "gan_iteration"]
    assert rows[0]["bytes"] == operation("gan_iteration", preset("tiny")).bytes("float16")
    assert {error["tolerance"] for error in rows[0]["verification"]["errors"]} > {2e-2}
    found = list(find_ceilings(registry.load("numpy")(precision="mixed"), "float16", "mixed", visit_s=1e-3))
    assert any(ceiling.kind == "product" for ceiling in found)


def test_runs_in_another_precision_are_not_compared(craft, tmp_path, ganbench_cli):
    ieee, tf32 = craft(tmp_path), craft(tmp_path, precision="tf32")
    code, _, err = ganbench_cli("diff", ieee, tf32)
    assert code != 0
    assert "precision ieee / tf32" in err


def test_titles():
    assert titled("float32", "ieee") == "float32"
    assert titled("float32", "tf32") == "float32 with TF32"
    assert titled("bfloat16", "mixed") == "bfloat16 (mixed precision)"


def test_a_program_that_makes_no_step_is_refused_whatever_was_emulated():
    """Were honest arithmetic ever so far off, three times that must not let the state it started from pass."""
    case, backend = operation("gan_iteration", preset("tiny")), NumpyBackend()
    found = answers(case, "float16")
    found = found._replace(deviations=dict.fromkeys(found.deviations, 10.0))
    inputs = case.inputs(found.seed, "float16", images(case))
    losses = (np.float32(0), np.float32(0))
    check = verify(BoundProgram(backend, case, inputs, lambda fixed, state, batch: (state, losses)), case, found,
                   "float16", "mixed")  # fmt: skip
    refused = {entry.group for entry in check.errors if entry.error > entry.tolerance}
    assert {f"{role} {part}" for role in ("generator", "discriminator") for part in ("params", "m", "v")} <= refused


# Convolutions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_convolutions_of_torch_take_tf32_only_where_asked(precision):
    """cuDNN takes it by default, and ``set_float32_matmul_precision`` says nothing of it."""
    registry.load("torch")(precision=precision)
    assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")


@pytest.mark.parametrize(("mode", "product"), [("jit", "convolution"), ("custom", "dot_general")])
@pytest.mark.parametrize(("precision", "said"), [("ieee", "HIGHEST"), ("tf32", "DEFAULT")])
def test_convolutions_of_jax_take_tf32_only_where_asked(mode, product, precision, said):
    """The program itself says it, before any device compiles it."""
    jax = pytest.importorskip("jax")
    spec, backend = preset("dcgan-8"), registry.load("jax")(mode)
    inputs = operation("gan_iteration", spec).inputs(0, "float32", images(spec))
    asked = backend.environment("cuda", "float32", precision, "")["JAX_DEFAULT_MATMUL_PRECISION"]
    with jax.default_matmul_precision(asked):
        iteration = jax.jit(partial(backend.gan_iteration, spec))
        lines = iteration.lower(inputs.state, *inputs.batches[0]).as_text().splitlines()
    products = [line for line in lines if f"stablehlo.{product}" in line]
    assert products
    assert all(line.partition("precision")[2].count(said) == 2 for line in products)
