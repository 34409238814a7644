"""What the oracle answered before losses were data it answers today, to the last bit, and so on any processor."""

from itertools import islice

import numpy as np
import pytest
from frozen_oracle import Model
from msgspec.structs import replace

from ganbench.gan import GANSpec, preset, with_loss
from ganbench.operations import operation
from ganbench.testing import images
from ganbench.verification.choose_inputs import collected
from ganbench.verification.models import ODD_SPECS
from ganbench.verification.reference import Reference

ITERATIONS = 4
CRITIC = GANSpec(
    name="wgan-gp-small",
    generator=(6, 9, 12),
    discriminator=(12, 10, 8, 1),
    discriminator_activations=("leaky_relu", "tanh", "identity"),
    batch=7,
    batch_norm=True,
    loss="wgan-gp",
    critic_steps=3,
)
SPECS = (
    preset("tiny"),
    replace(with_loss(preset("tiny"), "saturating"), name="tiny-saturating"),
    replace(preset("mnist-mlp-bn"), batch=8),
    replace(with_loss(preset("tiny"), "wgan-gp"), name="tiny-wgan-gp"),
    CRITIC,
    *ODD_SPECS,
)
OLD = [spec for spec in SPECS if spec.loss in ("non-saturating", "saturating", "wgan-gp")]


def same_bits(found, expected):
    found, expected = ([np.asarray(array, np.float64) for array in arrays] for arrays in (found, expected))
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", OLD, ids=lambda spec: spec.name)
def test_an_iteration(spec, dtype):
    case, frozen = operation("gan_iteration", spec), Model(spec)
    inputs = case.inputs(5, dtype, images(spec))
    networks, batches = frozen.inputs(5, dtype, images(spec))
    same_bits(case.collect(inputs.state, ()), [array for net in networks for part in net for array in part])
    for batch, expected in zip(inputs.batches, batches, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(batch, expected, strict=True))

    answers = collected(Reference(), case, inputs, range(1, ITERATIONS + 1))
    networks = [tuple([array.astype("float64") for array in part] for part in net) for net in networks]
    for step, batch in enumerate(islice(batches, ITERATIONS)):
        networks, reported = frozen.iterate(networks, step, [array.astype("float64") for array in batch])
        expected = [array for net in networks for part in net for array in part] + list(reported)
        same_bits(answers[step + 1], expected)


@pytest.mark.parametrize("spec", OLD, ids=lambda spec: spec.name)
def test_what_is_measured_alone(spec):
    """Forward passes, the penalty's gradient and a step of Adam."""
    oracle, frozen = Reference(), Model(spec)
    found = {}
    for name in ("generator_forward", "discriminator_forward", "penalty_grad", "adam_step"):
        case = operation(name, spec)
        inputs = case.inputs(5, "float64", images(spec))
        (answers,) = collected(oracle, case, inputs, [1]).values()
        found[name] = answers, inputs.batches[0], inputs.state
    answers, (params, z), _ = found["generator_forward"]
    same_bits(answers, [frozen.forward(frozen.g, params, z)[0]])
    answers, (params, x), _ = found["discriminator_forward"]
    same_bits(answers, [frozen.forward(frozen.d, params, x)[0]])
    answers, (params, x), _ = found["penalty_grad"]
    critic = Model(with_loss(spec, "wgan-gp"))
    same_bits(answers, critic.penalty(x, params)[1])
    answers, (grads,), (params, m, v, _) = found["adam_step"]
    same_bits(answers, [array for part in frozen.adam(params, grads, m, v, 1) for array in part])
