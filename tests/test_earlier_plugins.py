"""A plug-in with the methods of interface 1 is measured as before, or is told what it has to change."""

import pytest
from ganbench.backends.numpy_backend import NumpyBackend
from msgspec.structs import replace

from ganbench.errors import UnsupportedError
from ganbench.gan import preset, with_loss
from ganbench.operations import operation
from ganbench.testing import answers, images
from ganbench.verification.gate import verify


class TwoMethods(NumpyBackend):
    """One method for a single step on D, and one for several with a penalty."""

    losses = ("non-saturating", "saturating", "wgan-gp")

    def gan_iteration(self, spec, state, real, z_d, z_g):
        assert not spec.wasserstein
        return super().gan_iteration(spec, state, real, z_d, z_g)

    def wasserstein_iteration(self, spec, state, real, z_d, z_g, u):
        assert spec.wasserstein
        return super().gan_iteration(spec, state, real, z_d, z_g, u)


@pytest.mark.parametrize("loss", TwoMethods.losses)
def test_each_loss_has_the_method_that_it_had(loss):
    case, backend = operation("gan_iteration", with_loss(preset("tiny"), loss)), TwoMethods()
    backend.require_loss(case)
    expected = answers(case, "float64")
    program = backend.prepare(case, case.inputs(expected.seed, "float64", images(case)))
    found = verify(program, case, expected, "float64")
    assert found.passed, found.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic_steps": 2}, "makes one step on D in an iteration, not 2: its gan_iteration has no argument u"),
        ({"loss": "hinge"}, "not written for loss 'hinge', only for non-saturating, saturating, wgan-gp"),
    ],
)
def test_what_it_lacks_is_said(change, message):
    with pytest.raises(UnsupportedError, match=message):
        TwoMethods().require_loss(operation("gan_iteration", replace(preset("tiny"), **change)))
