"""One target, ``TARGET``, in this process alone: frameworks beside one another would share threads and settings."""

import os
from pathlib import Path

import pytest

from ganbench import registry, testing
from ganbench.gan import preset
from ganbench.operations import OPERATIONS, operation
from ganbench.precision import FULL
from ganbench.testing import KEPT, BackendConformance, answers, images
from ganbench.verification.gate import verify

KEPT.folder = Path(os.environ["GANBENCH_ANSWERS"])  # the oracle answers once, for all targets
TARGET = registry.parse_target(os.environ["TARGET"])
BACKEND = registry.load(TARGET.backend)
DEFAULT = TARGET.mode == next(iter(BACKEND.modes))
# A mode that compiles takes up to a minute for each model, and the smallest are in other tests of the suite.
FEW = () if TARGET.label == "mlx.compile" else testing.IMAGE_SPECS[:1]
USUAL = (*testing.TINY_SPECS, testing.IMAGE_SPECS[0])
# MLX's exponential is one of float32, whatever it is given; so are tanh of Keras on JAX, and its products on PyTorch.
DTYPES = FULL if "tensorflow" in (TARGET.backend, TARGET.mode) else ("float32",)


ODD = (*testing.ODD_SPECS, *testing.IMAGE_SPECS[1:])


class TestTarget(BackendConformance):
    backend_class, mode, device, dtypes = BACKEND, TARGET.mode, TARGET.device, DTYPES
    specs = FEW if not DEFAULT else USUAL if TARGET.backend == "keras" else (*USUAL, *ODD)
    operations = tuple(OPERATIONS) if DEFAULT else ("adam_step", "penalty_grad", "gan_iteration")
    test_long_run = None  # models of MNIST size, for each of which the oracle takes a minute
    if not DEFAULT:
        test_training = None


def gate(name, spec, dtype, precision="ieee"):
    """Return what the gate says of one operation."""
    case = operation(name, spec)
    expected = answers(case, dtype, precision)
    program = BACKEND(TARGET.mode).prepare(case, case.inputs(expected.seed, dtype, images(case)))
    return verify(program, case, expected, dtype, precision)


@pytest.mark.skipif(not DEFAULT, reason="tested in the default mode")
@pytest.mark.parametrize("dtype", [name for name in BACKEND.formats if name not in FULL])
@pytest.mark.parametrize("spec", testing.TINY_SPECS[:2], ids=lambda spec: spec.name)
def test_an_iteration_in_halves(spec, dtype):
    found = gate("gan_iteration", spec, dtype, "mixed")
    assert found.passed, found.reason


@pytest.mark.skipif(TARGET.backend != "mlx", reason="of MLX")
def test_the_gate_says_what_is_not_computed_in_float64():
    assert gate("matmul", preset("tiny"), "float64").passed
    found = gate("generator_forward", preset("tiny"), "float64")
    assert "'images' is off by" in found.reason
