"""Convolutional GANs: the oracle by four other ways, and every mode against the oracle."""

from unittest import mock

import msgspec
import numpy as np
import pytest
from dcgan_reference import iteration, network
from finite_differences import STEP, relative
from hypothesis import HealthCheck, assume, given, settings
from msgspec.structs import replace
from random_images import image_models

from ganbench import registry
from ganbench.gan import GANSpec, preset
from ganbench.layers.tables import WeightedTable
from ganbench.operations import operation
from ganbench.testing import answers, images
from ganbench.training.pictures import generate
from ganbench.verification.choose_inputs import collected
from ganbench.verification.gate import group_errors, verify
from ganbench.verification.honest import RecordingOracle, RoundingOracle
from ganbench.verification.models import IMAGE_SPECS
from ganbench.verification.reference import Reference

CRITIC = IMAGE_SPECS[-1]
# JAX compiles every model for seconds.
MODES = ("numpy", "numpy.inplace", "torch", "torch.manual", "torch.textbook", "torch.compile")


# The oracle by other ways -------------------------------------------------------------------------------


def steady(case, inputs, counts):
    """Return the oracle's answers; leaves out models in which rounding errors, eight times enlarged, reach 1e-10.

    They do where batch norm in D cancels a gradient: there is little but noise then, of which Adam makes a step.
    """
    exact = RecordingOracle("float64")
    expected = collected(exact, case, inputs, counts)
    for count, outputs in collected(RoundingOracle("float64", exact), case, inputs, counts).items():
        errors = group_errors(outputs, expected[count], case.outputs(), count)
        assume(max(entry.error for entry in errors) < (1e-10 if count == 1 else 1e-8))
    return expected


def tables_of(spec, role):
    """Return the layers of a network as the independent program takes them."""
    return network(
        [entry if isinstance(entry, int | tuple) else msgspec.to_builtins(entry) for entry in getattr(spec, role)]
    )


@pytest.mark.odd
@settings(max_examples=20, derandomize=True)
@given(image_models(losses=("non-saturating", "saturating")))
def test_the_oracle_agrees_with_an_independent_program(spec):
    assume(spec.critic_steps == 1)
    assume(not any(isinstance(entry, int) for entry in spec.discriminator))  # that program has tables only
    case = operation("gan_iteration", spec)
    inputs = case.inputs(3, "float64", images(spec))
    expected = steady(case, inputs, range(1, 4))
    layers = tables_of(spec, "generator"), tables_of(spec, "discriminator")
    nets = tuple(map(tuple, inputs.state[:2]))
    for step, (real, z_d, z_g) in enumerate(inputs.batches[:3], 1):
        real = real.reshape(len(real), *layers[1][0]["a"])
        nets, *losses = iteration(spec, layers, nets, step, real, z_d, z_g)
        found = [array for net in nets for part in net for array in part] + list(losses)
        errors = group_errors(found, expected[step], case.outputs(), step)
        assert max(entry.error for entry in errors) < (1e-10 if step == 1 else 1e-8)


def smooth(entry):
    """Return an entry without kinks: near one a difference says nothing."""
    kinked = isinstance(entry, WeightedTable) and entry.activation in ("relu", "leaky_relu")
    return replace(entry, activation="tanh") if kinked else entry


@pytest.mark.parametrize("spec", IMAGE_SPECS, ids=lambda spec: spec.name)
def test_gradients_by_finite_differences(spec):
    """Of both losses by every parameter along a random way; Adam's first moment says the gradient of the oracle."""
    networks = {role: tuple(map(smooth, getattr(spec, role))) for role in ("generator", "discriminator")}
    spec = replace(spec, **networks, batch=3, lr=1e-300, beta1=0.5, critic_steps=1)
    case, oracle = operation("gan_iteration", spec), Reference()
    inputs = case.inputs(0, "float64", images(spec))
    state, batch = inputs.state, inputs.batches[0]
    after, *_ = oracle.gan_iteration(spec, state, *batch)

    def loss(role, place, params):
        moved = state._replace(**{role: getattr(state, role)._replace(params=params)})
        return oracle.gan_iteration(spec, moved, *batch)[place]

    rng = np.random.default_rng(0)
    for role, place in (("discriminator", 1), ("generator", 2)):
        params = getattr(state, role).params
        for number, (param, m) in enumerate(zip(params, getattr(after, role).m, strict=True)):
            grad, way = m / (1 - spec.beta1), rng.standard_normal(param.shape)
            way /= np.linalg.norm(way)  # a longer one is truncated more
            ends = [[*params[:number], param + side * STEP * way, *params[number + 1 :]] for side in (1, -1)]
            up, down = (loss(role, place, end) for end in ends)
            assert (up - down) / (2 * STEP) == pytest.approx((grad * way).sum(), rel=1e-6, abs=1e-9), (role, number)


def test_the_penalty_agrees_with_double_backward_of_pytorch():
    torch = pytest.importorskip("torch")
    case = operation("penalty_grad", CRITIC)
    inputs = case.inputs(0, "float64", images(CRITIC))
    params, x = inputs.batches[0]
    leaves = [torch.tensor(p, requires_grad=True) for p in params]
    x = torch.tensor(x, requires_grad=True)
    functional, given = torch.nn.functional, iter(leaves)
    w1, b1, w2, w3, b3, w4, b4 = given
    y = functional.leaky_relu(functional.conv2d(x.reshape(-1, 2, 6, 6), w1, b1, 2, 1), 0.2)
    y = torch.tanh(functional.conv2d(y, w2))
    y = torch.sigmoid(functional.linear(y.flatten(1), w3, b3))
    logits = functional.conv2d(y[:, :, None, None], w4, b4)
    (slopes,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    penalty = CRITIC.penalty * ((slopes.norm(2, dim=1) - 1) ** 2).mean()
    expected = torch.autograd.grad(penalty, leaves, materialize_grads=True)
    found = Reference().penalty_grad(CRITIC, params, inputs.batches[0][1])
    assert relative(found, [grad.numpy() for grad in expected]) < 1e-12


# Every mode ---------------------------------------------------------------------------------------------


@pytest.mark.modes
@settings(max_examples=80, derandomize=True, suppress_health_check=list(HealthCheck))
@given(image_models())
def test_every_mode_agrees_with_the_oracle_in_any_model(spec):
    """Within 1e-10 after one iteration, 1e-8 after eight; what ``torch.compile`` is given runs as it is."""
    case = operation("gan_iteration", spec)
    inputs = case.inputs(0, "float64", images(spec))
    expected = steady(case, inputs, (1, 8))
    for name in MODES:
        backend, _, mode = name.partition(".")
        with mock.patch("torch.compile", lambda function, **_: function):
            program = registry.load(backend)(mode).prepare(case, inputs)
        for count in range(1, 9):
            program()
            if count in expected:
                errors = group_errors(program.outputs(), expected[count], case.outputs(), count)
                assert max(entry.error for entry in errors) < (1e-10 if count == 1 else 1e-8), name


@pytest.mark.parametrize("spec", [preset("dcgan-8"), replace(preset("dcgan-28"), batch=3)], ids=lambda spec: spec.name)
def test_a_trained_generator_makes_images_by_running_statistics(spec):
    """With the statistics of the batch itself as running ones, they are those that training makes."""
    case = operation("gan_iteration", spec)
    state, oracle = case.inputs(0, "float64", images(spec)).state, Reference()
    z = np.random.default_rng(1).standard_normal((spec.batch, spec.z_dim))
    layers, g = spec.generator_layers, state.generator
    _, traces, _ = oracle._forward(layers, g.params, z)
    running = []
    for layer, trace in zip(layers, traces, strict=True):
        if layer.batch_norm:
            running += [trace.linear.mean(axis=(0, 2, 3)), trace.linear.var(axis=(0, 2, 3))]
    made = oracle.generator_forward(spec, g.params, z)
    assert np.allclose(generate(spec, g.params, running, z), made)


# Mistakes -----------------------------------------------------------------------------------------------


def kernel_turned_round(backend):
    whole = backend.conv_transpose
    backend.conv_transpose = lambda y, w, window: whole(y, w[:, :, ::-1, ::-1], window)


def padding_off_by_one(backend):
    """Every window begins one pixel too early."""
    whole = backend.conv

    def conv(x, w, window):
        c, height, width = window.big
        image = np.zeros((len(x) // (height * width), height, width, c), x.dtype)
        image[:, :, 1:] = x.reshape(image.shape)[:, :, :-1]
        return whole(image.reshape(x.shape), w, window)

    backend.conv = conv


def channel_left_out(backend):
    whole = backend.conv
    backend.conv = lambda x, w, window: whole(x * (np.arange(window.big[0]) > 0), w, window)


def channel_left_out_of_the_gradient(backend):
    whole = backend.conv_weight_grad

    def found(x, y, window):
        grad = whole(x, y, window)
        grad[0] = 0
        return grad

    backend.conv_weight_grad = found


def running_variance_biased(backend):
    whole = backend._normalise

    def found(x, dtype, eps):
        x_hat, mean, var, scale = whole(x, dtype, eps)
        return x_hat, mean, var * ((len(x) - 1) / len(x)), scale

    backend._normalise = found


def statistics_of_d_forgotten(backend):
    whole = backend.step_on_discriminator

    def step(spec, g, d, *rest):
        kept = [array.copy() for array in d.running]
        after, *losses = whole(spec, g, d, *rest)
        return after._replace(running=kept), *losses

    backend.step_on_discriminator = step


def statistics_of_real_and_fake_mixed(backend):
    """Both are rows of one batch, as where D has no batch norm."""
    whole = backend.gan_iteration

    def iteration(spec, *rest):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GANSpec, "apart", False)
            return whole(spec, *rest)

    backend.gan_iteration = iteration


def d_updated_with_the_batch_of_g(backend):
    whole = backend.gan_iteration
    backend.gan_iteration = lambda spec, state, real, z_d, z_g: whole(spec, state, real, z_g, z_g)


MISTAKES = (
    kernel_turned_round,
    padding_off_by_one,
    channel_left_out,
    channel_left_out_of_the_gradient,
    running_variance_biased,
    d_updated_with_the_batch_of_g,
    statistics_of_d_forgotten,  # from here on only where D has batch norm
    statistics_of_real_and_fake_mixed,
)


def passes(case, dtype, mistake=None):
    expected, backend = answers(case, dtype), registry.load("numpy")()
    if mistake:
        mistake(backend)
    program = backend.prepare(case, case.inputs(expected.seed, dtype, images(case)))
    # In every round but the first, one iteration is all that is compared.
    return [verify(program, case, expected._replace(most=most), dtype).passed for most in {1, expected.most}]


MISTAKEN = (IMAGE_SPECS[0], preset("dcgan-8"), pytest.param(preset("dcgan-28"), marks=pytest.mark.large))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", MISTAKEN, ids=lambda spec: spec.name)
def test_the_gate_finds_mistakes_of_convolutions(spec, dtype):
    case = operation("gan_iteration", spec)
    assert all(passes(case, dtype))
    possible = MISTAKES if spec.apart else MISTAKES[:-2]
    assert [mistake.__name__ for mistake in possible if any(passes(case, dtype, mistake))] == []
