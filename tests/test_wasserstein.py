"""The Wasserstein loss with gradient penalty: its oracle, its edges, and its faults."""

import numpy as np
import pytest
import torch
from critic_faults import CRITIC_FAULTS, OF_THE_PENALTY
from finite_differences import differences, relative, staged
from ganbench.backends.jax_backend import JaxBackend
from ganbench.backends.numpy_backend import NumpyBackend
from ganbench.backends.torch_backend import TorchBackend
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from msgspec.structs import replace
from random_models import models
from torch_critic import TorchCritic, gradient_penalty, network

from ganbench.backend import GANState, NetworkState
from ganbench.gan import GANSpec, preset, with_loss
from ganbench.operations import operation
from ganbench.operations.networks import GANIteration, PenaltyGrad, initial_state
from ganbench.testing import answers, images
from ganbench.verification.emulation import answer
from ganbench.verification.gate import verify
from ganbench.verification.reference import Reference

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")
TINY = with_loss(preset("tiny"), "wgan-gp")
MODES = [
    (NumpyBackend, "plain"),
    (NumpyBackend, "inplace"),
    (TorchBackend, "eager"),
    (TorchBackend, "manual"),
    (TorchBackend, "textbook"),
    (JaxBackend, "jit"),
    (JaxBackend, "scan"),
]


def batch_of(spec, rng):
    steps, b = spec.critic_steps, spec.batch
    return (
        rng.uniform(*spec.data_range, (steps, b, spec.img_dim)),
        rng.standard_normal((steps, b, spec.z_dim)),
        rng.standard_normal((b, spec.z_dim)),
        rng.uniform(size=(steps, b, 1)),
    )


# The oracle -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize("hidden", [(), *((one, other) for one in ACTIVATIONS for other in ACTIVATIONS)], ids=str)
def test_gradients_by_finite_differences(hidden, batch_norm):
    spec = GANSpec(
        generator=(2, 4, 3),
        discriminator=(3, 4, 3, 1) if hidden else (3, 1),
        discriminator_activations=(*hidden, "identity"),
        generator_activations=("tanh", "sigmoid"),
        batch=5,
        batch_norm=batch_norm,
        loss="wgan-gp",
        critic_steps=1,
        lr=1e-300,  # too small to move a parameter
    )
    state, batch = staged(spec, batch_of)
    oracle, (g, d) = Reference(), state[:2]
    after, *_ = oracle.gan_iteration(spec, state, *batch)

    def d_loss(params):
        return oracle.gan_iteration(spec, GANState(g, NetworkState(params, *d[1:]), state.step), *batch)[1]

    def g_loss(params):
        return oracle.gan_iteration(spec, GANState(NetworkState(params, *g[1:]), d, state.step), *batch)[2]

    # beta1 is 0, so that Adam's first moment is the gradient.
    assert relative(after.discriminator.m, differences(d_loss, d.params)) < 1e-7
    assert relative(after.generator.m, differences(g_loss, g.params)) < 1e-7


def test_each_step_on_the_critic_takes_its_own_batch_and_counts():
    """Two steps are one step, and another from where it led, with G as it was."""
    spec = replace(TINY, critic_steps=2)
    state, batch = staged(spec, batch_of, 0)
    after, d_loss, g_loss, penalty = Reference().gan_iteration(spec, state, *batch)
    one = replace(spec, critic_steps=1)
    real, z_d, z_g, u = batch
    first, *_ = Reference().gan_iteration(one, state, real[:1], z_d[:1], z_g, u[:1])
    between = GANState(state.generator, first.discriminator, np.int32(1))
    second, *reported = Reference().gan_iteration(one, between, real[1:], z_d[1:], z_g, u[1:])
    assert relative(after.discriminator.params, second.discriminator.params) < 1e-15
    assert [d_loss, penalty] == [reported[0], reported[2]]
    assert g_loss == reported[1]


@pytest.mark.odd
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spec=models(losses=("wgan-gp",)), seed=st.integers(0, 100))
def test_the_oracle_is_what_double_backward_of_pytorch_gives(spec, seed):
    spec = replace(spec, eps=1.0)  # so that Adam makes no whole steps of gradients that are noise
    rng, oracle = np.random.default_rng(seed), Reference()
    state, batch = initial_state(rng, spec, "float64"), batch_of(spec, rng)
    theirs = TorchCritic(spec, state)
    after, *reported = oracle.gan_iteration(spec, state, *batch)
    assume(oracle.nearest_kink > 1e-12)
    found = theirs(*batch)
    assert np.allclose(reported, found, rtol=1e-10, atol=1e-13)
    ours = [part for net in after[:2] for part in net]
    for part, other in zip(ours, theirs.arrays(), strict=True):
        assert all(np.allclose(a, b, rtol=1e-10, atol=1e-13) for a, b in zip(part, other, strict=True))


@pytest.mark.odd
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spec=models(losses=("wgan-gp",)), seed=st.integers(0, 100))
def test_the_gradient_of_the_penalty_is_what_pytorch_gives(spec, seed):
    rng, oracle = np.random.default_rng(seed), Reference()
    params = initial_state(rng, spec, "float64").discriminator.params
    rows = rng.standard_normal((spec.batch, spec.img_dim))
    ours = oracle.penalty_grad(spec, params, rows)
    assume(oracle.nearest_kink > 1e-12)
    critic = network(spec.discriminator_layers, params)
    penalty = gradient_penalty(critic, torch.from_numpy(rows), spec.penalty)
    theirs = torch.autograd.grad(penalty, list(critic.parameters()), materialize_grads=True)
    assert relative(ours, [grad.numpy() for grad in theirs]) < 1e-10


def test_without_a_slope_the_gradient_is_zero():
    spec = replace(TINY, discriminator_activations=("relu", "identity"))
    params = initial_state(np.random.default_rng(0), spec, "float64").discriminator.params
    params[1] -= 100  # every hidden unit is dead
    penalty, grads = Reference()._penalty(spec, params, np.random.default_rng(0).uniform(size=(16, 36)))
    assert penalty == spec.penalty
    assert not any(grad.any() for grad in grads)


# The gate ---------------------------------------------------------------------------------------------------


def gate(backend, case, dtype="float32", precision="ieee"):
    expected = answers(case, dtype, precision)
    inputs = case.inputs(expected.seed, dtype, images(case))
    return verify(backend.prepare(case, inputs), case, expected, dtype, precision)


SIZES = ["tiny", pytest.param("mnist-mlp", marks=pytest.mark.large)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("fault", CRITIC_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught(fault, name, dtype):
    assert "is off by" in gate(fault(), GANIteration(with_loss(preset(name), "wgan-gp")), dtype).reason


@pytest.mark.parametrize("fault", CRITIC_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_shows_through_the_noise_of_halves(fault):
    assert not gate(fault(precision="mixed"), GANIteration(TINY), "bfloat16", "mixed").passed


@pytest.mark.parametrize("fault", OF_THE_PENALTY, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_penalty_is_caught_in_its_gradient_alone(fault):
    assert "grad" in gate(fault(), PenaltyGrad(TINY)).reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SIZES)
def test_what_is_no_fault_passes(name, dtype):
    assert gate(TorchBackend(), GANIteration(with_loss(preset(name), "wgan-gp")), dtype).passed


def test_what_is_no_fault_passes_in_halves_and_in_its_gradient_alone():
    assert gate(TorchBackend(precision="mixed"), GANIteration(TINY), "bfloat16", "mixed").passed
    assert gate(TorchBackend(), PenaltyGrad(TINY)).passed


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@pytest.mark.modes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(spec=models(losses=("wgan-gp",)))
def test_honest_programs_pass_in_any_model(dtype, spec):
    for case in (GANIteration(spec), PenaltyGrad(spec)):
        expected = answer(case, dtype, "ieee", images(spec))
        inputs = case.inputs(expected.seed, dtype, images(spec))
        for cls, mode in (MODES[:4] if case.name == "gan_iteration" else [MODES[0], MODES[2]]) + MODES[5:6]:
            backend = cls(mode)
            found = verify(backend.prepare(case, inputs), case, expected, dtype)
            assert found.passed, f"{backend.name}.{mode} {case.name}: {found.reason}"


# The edges --------------------------------------------------------------------------------------------------


class OfCritic(GANIteration):
    """An iteration that begins with D's parameters changed by ``change``, in place."""

    def __init__(self, spec, change):
        super().__init__(spec)
        object.__setattr__(self, "change", change)

    def __hash__(self):
        return id(self)

    def inputs(self, seed, dtype, images):
        drawn = super().inputs(seed, dtype, images)
        self.change(drawn.state.discriminator.params)
        return drawn


def dead(params):
    params[1][...] = -100


def half_dead(params):
    """Rows whose sum is small have no slope, the others have one."""
    params[0][...] = np.abs(params[0])
    params[1][...] = -np.float64(params[0].sum(axis=1) / 2)


def nearly_flat(params):
    """Units come in pairs whose slopes all but cancel, so that the direction of what is left is mostly rounding."""
    params[0][1::2] = params[0][::2] * (1 + 1e-6)
    params[1][1::2] = params[1][::2]
    params[2][0, 1::2] = -params[2][0, ::2]


RELU = replace(TINY, name="relu", discriminator_activations=("relu", "identity"))
EDGES = {
    "dead": OfCritic(RELU, dead),
    "dead-odd-batch": OfCritic(replace(RELU, batch=5), dead),
    "half-dead": OfCritic(RELU, half_dead),
    "nearly-flat": OfCritic(TINY, nearly_flat),
    "one-layer": GANIteration(replace(TINY, discriminator=(36, 1), discriminator_activations=("identity",))),
    "batch-1": GANIteration(replace(TINY, batch=1)),
    "no-penalty": GANIteration(replace(TINY, penalty=0.0)),
    "one-step": GANIteration(replace(TINY, critic_steps=1)),
    "many-steps": GANIteration(replace(TINY, critic_steps=11)),
}


def refused(case, dtype, modes=MODES):
    """Return every mode that the gate refuses, with the reason: in one test, because the oracle's answers are dear."""
    found = {f"{cls.name}-{mode}": gate(cls(mode), case, dtype) for cls, mode in modes}
    return {name: one.reason for name, one in found.items() if not one.passed}


@pytest.mark.modes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("edge", EDGES)
def test_an_edge(edge, dtype):
    """In float32, where the edges are no sharper, one mode of each library."""
    modes = MODES if dtype == "float64" else [(NumpyBackend, "plain"), (TorchBackend, "eager"), (JaxBackend, "jit")]
    assert refused(EDGES[edge], dtype, modes) == {}


def test_half_of_the_rows_are_dead():
    case = EDGES["half-dead"]
    inputs = case.inputs(0, "float64", images(case))
    real = inputs.batches[0][0][0]
    w, b = inputs.state.discriminator.params[:2]
    alive = ((real @ w.T + b) > 0).any(axis=1)
    assert 0 < alive.sum() < len(alive)


def test_a_nearly_flat_critic_is_gated_by_what_rounding_does_there():
    flat, plain = (answers(case, "float32") for case in (EDGES["nearly-flat"], GANIteration(TINY)))
    key = "discriminator m", 1
    assert flat.deviations[key] > 10 * plain.deviations[key]


@pytest.mark.large
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_deep(dtype):
    assert refused(GANIteration(with_loss(preset("deep"), "wgan-gp")), dtype) == {}


def test_penalty_grad_needs_no_critic():
    """λ is then the usual 10."""
    plain, critic = (operation("penalty_grad", spec) for spec in (preset("tiny"), TINY))
    assert plain.flops == critic.flops
    assert answers(plain, "float64").after[1][0] == pytest.approx(answers(critic, "float64").after[1][0])
