"""Programs whose one call makes several iterations, in models in which correct programs part within one call."""

import pytest
from ganbench.backends.jax_backend import JaxBackend, ScannedProgram
from msgspec.structs import replace

from ganbench.backend import Program
from ganbench.errors import UnsupportedError
from ganbench.gan import preset, with_loss
from ganbench.operations.networks import GANIteration
from ganbench.testing import answers, images
from ganbench.verification.gate import PARTED, verify

pytestmark = pytest.mark.odd
TINY = with_loss(preset("tiny"), "wgan-gp")
# In float32, some outputs differ by more than themselves after two iterations, whatever kernels multiply.
PARTING = GANIteration(replace(TINY, lr=0.01))


def gate(backend, case):
    expected = answers(case, "float32")
    inputs = case.inputs(expected.seed, "float32", images(case))
    return verify(backend.prepare(case, inputs), case, expected, "float32")


class Doubled(JaxBackend):
    """λ twice."""

    def _penalty(self, spec, params, x):
        return 2 * super()._penalty(spec, params, x)


def test_a_scan_is_compared_where_correct_programs_part_within_it():
    expected = answers(PARTING, "float32")
    assert expected.most == 1
    assert max(error for (_, count), error in expected.deviations.items() if count == 8) > PARTED
    assert gate(JaxBackend("scan"), PARTING).passed
    assert "after 1 iteration " in gate(Doubled("scan"), PARTING).reason


def test_a_scan_that_cannot_be_compared_is_refused():
    class Whole(ScannedProgram):
        first_outputs = Program.first_outputs

    class Rigid(JaxBackend):
        def prepare(self, operation, inputs):
            program = super().prepare(operation, inputs)
            program.__class__ = Whole
            return program

    with pytest.raises(UnsupportedError, match=r"one call makes 8 iterations, .* agree only for the first 1, "):
        gate(Rigid("scan"), PARTING)
    parted = gate(JaxBackend("scan"), GANIteration(replace(TINY, lr=0.1)))
    assert parted.reason == "it cannot be verified: after the 8 iterations of one call even correct programs disagree"
