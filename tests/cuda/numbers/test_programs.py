"""CuPy's programs of images against the oracle: its kernels and products run on the host.

What is not imitated: CUB's reductions, races between threads, and CUDA's own library of mathematics.
"""

import cupy
import driver  # noqa: F401 (puts the fake driver under CuPy, before it works)
import host  # noqa: F401 (and what compiles for the host)
import pytest

from ganbench.gan import preset
from ganbench.operations import CONVOLUTIONS, operation, operations_of
from ganbench.registry import load
from ganbench.testing import answers, images
from ganbench.verification.gate import verify
from ganbench.verification.models import IMAGE_SPECS

IMAGES, _, CRITIC = IMAGE_SPECS
DCGAN = preset("dcgan-8")
WHOLE = ("gan_iteration",)
CASES = [
    ("eager", IMAGES, operations_of(IMAGES)),
    ("eager", DCGAN, (*(kind.name for kind in CONVOLUTIONS), *WHOLE)),
    ("eager", CRITIC, ("penalty_grad", *WHOLE)),
    ("fused", IMAGES, WHOLE),
    ("fused", CRITIC, WHOLE),
    *(("graph", spec, WHOLE) for spec in (preset("tiny"), *IMAGE_SPECS, DCGAN)),
]


@pytest.mark.parametrize(
    ("mode", "case"),
    [
        pytest.param(mode, operation(name, spec), id=f"{mode}-{spec.name}-{name}")
        for mode, spec, names in CASES
        for name in names
    ],
)
def test_a_program_passes_the_gate(mode, case):
    expected = answers(case, "float32")
    program = load("cupy")(mode, "cuda").prepare(case, case.inputs(expected.seed, "float32", images(case)))
    found = verify(program, case, expected, "float32")
    assert found.passed, found.reason


class NearlyCupy:
    """CuPy with a root that is a thousandth too large."""

    sqrt = staticmethod(cupy.ElementwiseKernel("T x", "T y", "y = sqrt(x) * (1 + T(1e-3))", "nearly_a_root"))

    def __getattr__(self, name):
        return getattr(cupy, name)


def test_a_kernel_that_is_wrong_is_seen():
    """Else the tests above would say nothing."""
    case, backend = operation("batch_norm", IMAGES), load("cupy")("eager", "cuda")
    expected = answers(case, "float32")
    backend.xp = NearlyCupy()
    program = backend.prepare(case, case.inputs(expected.seed, "float32", images(case)))
    found = verify(program, case, expected, "float32")
    assert "'y' is off by 0.00" in found.reason
