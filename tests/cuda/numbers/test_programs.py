"""CuPy's programs against the oracle: its kernels and products run on the host.

Every mode, operation, format and loss that the gate takes. What is not imitated: CUB's reductions, races between
threads, and CUDA's own library of mathematics.
"""

import os
from pathlib import Path

import cupy
import driver  # noqa: F401 (puts the fake driver under CuPy, before it works)
import host  # noqa: F401 (and what compiles for the host)
import numpy as np
import pytest
from cupy._core._routines_linalg import set_compute_type
from programs import formats

from ganbench.gan import GANSpec, preset
from ganbench.losses import LOSSES
from ganbench.operations import CONVOLUTIONS, OPERATIONS, operation, operations_of
from ganbench.registry import load
from ganbench.testing import KEPT, answers, images
from ganbench.verification.gate import verify
from ganbench.verification.models import IMAGE_SPECS

KEPT.folder = Path(os.environ["GANBENCH_ANSWERS"])  # the oracle answers once, for both versions of CuPy
UNDECIDED = 0  # CuPy's compute type before it has read CUPY_TF32
Cupy = load("cupy")
FORMATS = formats(Cupy)
WHOLE = ("gan_iteration",)
IMAGES, _, CRITIC = IMAGE_SPECS
DCGAN = preset("dcgan-8")


def small(loss):
    """A model of dense layers with every activation, in which Adam's eps is large enough to be seen."""
    steps = {} if loss == "wgan-gp" else {"batch_norm": True}
    return GANSpec(
        name=f"small-{loss}",
        generator=(3, 5, 4, 6),
        generator_activations=("sigmoid", "relu", "tanh"),
        discriminator=(6, 5, 4, 3, 1),
        discriminator_activations=("tanh", "leaky_relu", "sigmoid", "identity"),
        batch=4,
        loss=loss,
        critic_steps=2,
        lr=1e-2,
        eps=1e-2,
        **steps,
    )


SMALL = {loss: small(loss) for loss in LOSSES}
FIRST = SMALL["non-saturating"]
SINGLE = tuple(name for name in operations_of(FIRST) if name not in WHOLE)


def cases():
    """Yield (mode, spec, names of operations, format): each formula in the format that sees most, all formats once."""
    for mode in Cupy.modes:
        for spec in SMALL.values():
            yield mode, spec, WHOLE, ("float64", "ieee")
        for form in FORMATS:
            if form != ("float16", "mixed") or mode != "graph":  # which refuses halves
                yield mode, SMALL["wgan-gp"], WHOLE, form
                yield mode, FIRST, SINGLE if mode == "eager" else ("adam_step",), form
    for mode, spec, names in [
        ("eager", IMAGES, operations_of(IMAGES)),
        ("eager", DCGAN, (*(kind.name for kind in CONVOLUTIONS), *WHOLE)),
        ("eager", CRITIC, ("penalty_grad", *WHOLE)),
        ("fused", IMAGES, WHOLE),
        ("fused", CRITIC, ("penalty_grad", *WHOLE)),
        *(("graph", spec, WHOLE) for spec in (*IMAGE_SPECS, DCGAN)),
    ]:
        yield mode, spec, names, ("float32", "ieee")


PROGRAMS = {
    f"{mode}-{spec.name}-{name}-{'-'.join(form)}": (mode, operation(name, spec), *form)
    for mode, spec, names, form in cases()
    for name in names
    if spec.batch >= OPERATIONS[name].minimum_batch
}


def prepared(mode, case, dtype, precision, expected):
    """Return a program of CuPy as a worker would have it, with the variables that it asks for."""
    os.environ.update(Cupy.environment("cuda", dtype, precision, os.environ["CUPY_CACHE_DIR"]))
    set_compute_type(np.float32, UNDECIDED)
    return Cupy(mode, "cuda", precision).prepare(case, case.inputs(expected.seed, dtype, images(case)))


@pytest.mark.parametrize(("mode", "case", "dtype", "precision"), PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_passes_the_gate(mode, case, dtype, precision):
    expected = answers(case, dtype, precision)
    found = verify(prepared(mode, case, dtype, precision, expected), case, expected, dtype, precision)
    assert found.passed, found.reason


class NearlyCupy:
    """CuPy with a root that is a thousandth too large."""

    sqrt = staticmethod(cupy.ElementwiseKernel("T x", "T y", "y = sqrt(x) * (1 + T(1e-3))", "nearly_a_root"))

    def __getattr__(self, name):
        return getattr(cupy, name)


def test_a_kernel_that_is_wrong_is_seen():
    """Else the tests above would say nothing."""
    case, backend = operation("batch_norm", IMAGES), Cupy("eager", "cuda")
    expected = answers(case, "float32")
    backend.xp = NearlyCupy()
    program = backend.prepare(case, case.inputs(expected.seed, "float32", images(case)))
    found = verify(program, case, expected, "float32")
    assert "'y' is off by 0.00" in found.reason
