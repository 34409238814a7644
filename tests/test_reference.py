"""The oracle: by finite differences, against torch autograd, and how it picks what a run is compared on."""

import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from ganbench.backend import BoundProgram, GANState, NetworkState, map_arrays
from ganbench.gan import BATCH_NORM_EPS, GANSpec, preset
from ganbench.operations import operation
from ganbench.operations.networks import GANIteration, initial_state
from ganbench.testing import images
from ganbench.verification import reference
from ganbench.verification.gate import LOOSE_TOLERANCE, TOLERANCES, verify
from ganbench.verification.reference import GATED_ITERATIONS, SEEDS, Reference, kink_margin, solve

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")
LOSSES = ("non-saturating", "saturating")


def relative(received, expected):
    received, expected = (np.concatenate([np.ravel(array) for array in part]) for part in (received, expected))
    return np.linalg.norm(received - expected) / np.linalg.norm(expected)


# Finite differences -------------------------------------------------------------------------------------

STEP = 1e-5  # central: truncated at STEP², rounded at 1e-16 / STEP


def differences(function, arrays):
    """Return the gradient of the scalar ``function(arrays)`` with respect to every element of ``arrays``."""
    grads = []
    for number, array in enumerate(arrays):
        grad = np.empty_like(array)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = [np.array(other) for other in arrays]
                moved[number][index] += sign * STEP
                values.append(function(moved))
            grad[index] = (values[0] - values[1]) / (2 * STEP)
        grads.append(grad)
    return grads


def staged(spec):
    """Return (state, batch) with parameters away from their initial 0 and 1, and from every kink."""
    for seed in range(SEEDS):
        rng, oracle = np.random.default_rng(seed), Reference()
        state = initial_state(rng, spec, "float64")
        for network in (state.generator, state.discriminator):
            for index, param in enumerate(network.params):
                network.params[index] = param + 0.3 * rng.standard_normal(param.shape)
        real = rng.uniform(*spec.data_range, (spec.batch, spec.img_dim))
        batch = (real, *rng.standard_normal((2, spec.batch, spec.z_dim)))
        oracle.gan_iteration(spec, state, *batch)
        if oracle.nearest_kink > 50 * STEP:
            return state, batch
    raise AssertionError("every seed comes too near a kink")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_by_finite_differences(activation, batch_norm, loss):
    spec = GANSpec(
        generator=(2, 4, 3, 3),
        generator_activations=(activation,) * 3,
        discriminator=(3, 4, 3, 1),
        discriminator_activations=(activation, activation, "identity"),
        batch=5,
        batch_norm=batch_norm,
        loss=loss,
        lr=1e-300,  # too small to move a parameter: g_loss is taken against the D that is differentiated
    )
    state, batch = staged(spec)
    oracle = Reference()
    g, d = state.generator, state.discriminator
    after, *_ = oracle.gan_iteration(spec, state, *batch)

    def d_loss(params):
        moved = GANState(g, NetworkState(params, *d[1:]), state.step)
        return oracle.gan_iteration(spec, moved, *batch)[1]

    def g_loss(params):
        moved = GANState(NetworkState(params, *g[1:]), d, state.step)
        return oracle.gan_iteration(spec, moved, *batch)[2]

    # After one step from zero, Adam's first moment is (1 - beta1) times the gradient.
    for network, start, loss_of in ((after.discriminator, d, d_loss), (after.generator, g, g_loss)):
        assert all(np.array_equal(new, old) for new, old in zip(network.params, start.params, strict=True))
        grads = [m / (1 - spec.beta1) for m in network.m]
        assert relative(grads, differences(loss_of, start.params)) < 1e-7


def test_batch_norm_grad_by_finite_differences():
    rng, oracle = np.random.default_rng(0), Reference()
    x, gamma, beta = rng.standard_normal((5, 3)), rng.uniform(0.5, 1.5, 3), rng.standard_normal(3)
    grad = rng.standard_normal((5, 3))
    expected = differences(lambda moved: (grad * oracle.batch_norm(*moved, BATCH_NORM_EPS)[0]).sum(), [x, gamma, beta])
    received = oracle.batch_norm_grad(x, gamma, beta, BATCH_NORM_EPS, grad)
    for name, one, other in zip(("x", "gamma", "beta"), received, expected, strict=True):
        assert relative([one], [other]) < 1e-8, name


def test_matmul_grad_by_finite_differences():
    rng, oracle = np.random.default_rng(0), Reference()
    a, b, grad = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), rng.standard_normal((4, 5))
    expected = differences(lambda moved: (grad * oracle.matmul(*moved)).sum(), [a, b])
    for name, one, other in zip("ab", oracle.matmul_grad(a, b, grad), expected, strict=True):
        assert relative([one], [other]) < 1e-8, name


def test_batch_norm_normalises():
    x = 3 * np.random.default_rng(0).standard_normal((7, 2)) + 5
    y, mean, var = Reference().batch_norm(x, np.ones(2), np.zeros(2), 0.0)
    assert np.allclose(y.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(y.var(axis=0), 1)
    assert np.allclose(mean, x.sum(axis=0) / 7)
    assert np.allclose(var, ((x - mean) ** 2).sum(axis=0) / 7)  # biased


# PyTorch ------------------------------------------------------------------------------------------------


def torch_network(torch, layers, start):
    """Return the ``nn.Sequential`` that holds the parameters ``start``."""
    nn = torch.nn
    named = {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(0.2), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}
    modules = []
    for n_in, n_out, activation, normalised in layers:
        modules.append(nn.Linear(n_in, n_out, bias=not normalised))
        if normalised:
            modules.append(nn.BatchNorm1d(n_out))
        modules.append(named.get(activation, nn.Identity()))
    network = nn.Sequential(*modules).double()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), start, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return network


def torch_state(network, adam):
    moments = [
        [adam.state[parameter][key].numpy() for parameter in network.parameters()] for key in ("exp_avg", "exp_avg_sq")
    ]
    running = [buffer.numpy() for name, buffer in network.named_buffers() if "num_batches" not in name]
    return NetworkState([parameter.detach().numpy() for parameter in network.parameters()], *moments, running)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [
        (("relu", "relu", "sigmoid"), ("relu", "relu", "identity")),
        (("leaky_relu", "tanh", "tanh"), ("sigmoid", "leaky_relu", "identity")),
        (("sigmoid", "identity", "identity"), ("tanh", "identity", "identity")),
    ],
    ids=["relu", "leaky_relu", "sigmoid"],
)
def test_training_against_torch(generator, discriminator, batch_norm, loss):
    torch = pytest.importorskip("torch")
    spec = GANSpec(
        generator=(7, 19, 13, 11),
        generator_activations=generator,
        discriminator=(11, 17, 5, 1),
        discriminator_activations=discriminator,
        batch=23,
        batch_norm=batch_norm,
        loss=loss,
        lr=3e-3,
        beta1=0.5,
        beta2=0.99,
    )
    state, _ = staged(spec)
    g, d = (
        torch_network(torch, layers, start.params)
        for layers, start in (
            (spec.generator_layers, state.generator),
            (spec.discriminator_layers, state.discriminator),
        )
    )
    adam_g, adam_d = (
        torch.optim.Adam(network.parameters(), lr=3e-3, betas=(0.5, 0.99), eps=spec.eps) for network in (g, d)
    )
    bce = torch.nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(23, 1).double(), torch.zeros(23, 1).double()
    rng, oracle = np.random.default_rng(1), Reference()
    for _ in range(6):
        real = rng.uniform(*spec.data_range, (23, 11))
        z_d, z_g = rng.standard_normal((2, 23, 7))
        state, *losses = oracle.gan_iteration(spec, state, real, z_d, z_g)

        real, z_d, z_g = map(torch.from_numpy, (real, z_d, z_g))
        d_loss = bce(d(real), ones) + bce(d(g(z_d).detach()), zeros)
        adam_d.zero_grad()
        d_loss.backward()
        adam_d.step()
        judged = d(g(z_g))
        g_loss = bce(judged, ones) if loss == "non-saturating" else -bce(judged, zeros)
        adam_g.zero_grad()
        g_loss.backward()
        adam_g.step()

        assert relative(losses, [d_loss.item(), g_loss.item()]) < 1e-12
        for ours, theirs in ((state.generator, torch_state(g, adam_g)), (state.discriminator, torch_state(d, adam_d))):
            for part, one, other in zip(NetworkState._fields, ours, theirs, strict=True):
                assert len(one) == len(other), part
                assert not one or relative(one, other) < 1e-12, part


# Which inputs a run is compared on ----------------------------------------------------------------------


def kinks(case, seed):
    """Return the nearest kink so far after each of the gated iterations."""
    oracle, inputs = Reference(), case.inputs(seed, "float32", images(case.spec))
    state, nearest = map_arrays(oracle.from_numpy, inputs.state), []
    for batch in itertools.islice(itertools.cycle(inputs.batches), GATED_ITERATIONS):
        state, _ = case.apply(oracle, inputs.fixed, state, map_arrays(oracle.from_numpy, batch))
        nearest.append(oracle.nearest_kink)
    return nearest


TINY = GANIteration(preset("tiny"))


@pytest.fixture(scope="module")
def tiny_kinks():
    return [kinks(TINY, seed) for seed in range(SEEDS)]


def set_margin(monkeypatch, margin):
    monkeypatch.setattr(reference, "KINK_MARGIN", reference.KINK_MARGIN * margin / kink_margin(TINY, "float32"))
    assert kink_margin(TINY, "float32") == pytest.approx(margin)


def test_solve_takes_the_first_seed_that_is_clear(monkeypatch, tiny_kinks):
    margin = sorted(nearest[-1] for nearest in tiny_kinks)[-3] * 0.999  # three seeds are clear
    first = next(seed for seed, nearest in enumerate(tiny_kinks) if nearest[-1] > margin)
    assert first > 0, "the case shows nothing"
    set_margin(monkeypatch, margin)
    answers = solve(TINY, "float32", images(TINY.spec))
    assert (answers.seed, answers.gated, answers.loose) == (first, GATED_ITERATIONS, False)
    assert answers.nearest_kink == tiny_kinks[first][-1] > margin
    assert set(answers.after) == {1, GATED_ITERATIONS}


def test_solve_gates_fewer_iterations_where_no_seed_is_clear(monkeypatch, tiny_kinks):
    margin = max(nearest[-1] for nearest in tiny_kinks) * 1.001  # no seed is clear to the end
    clear = [sum(distance > margin for distance in nearest) for nearest in tiny_kinks]
    assert 1 < max(clear) < GATED_ITERATIONS, "the case shows nothing"
    set_margin(monkeypatch, margin)
    answers = solve(TINY, "float32", images(TINY.spec))
    assert (answers.gated, answers.loose) == (max(clear), False)
    assert answers.seed == clear.index(max(clear))
    assert answers.nearest_kink == tiny_kinks[answers.seed][answers.gated - 1] > margin
    assert set(answers.after) == {1, answers.gated, GATED_ITERATIONS}


@pytest.fixture
def loose(monkeypatch, tiny_kinks):
    set_margin(monkeypatch, max(nearest[0] for nearest in tiny_kinks) * 1.001)  # not even one iteration is clear
    return solve(TINY, "float32", images(TINY.spec))


def test_solve_is_loose_where_no_iteration_is_clear(loose, tiny_kinks):
    assert (loose.gated, loose.loose) == (1, True)
    assert loose.nearest_kink == tiny_kinks[loose.seed][0]
    assert set(loose.after) == {1, GATED_ITERATIONS}


def test_solve_stays_as_far_from_a_kink_as_it_can(loose, tiny_kinks):
    """One ReLU that flips on 'wide' is amplified by Adam's first step to 2e-2, which no tolerance forgives."""
    assert loose.nearest_kink == max(nearest[0] for nearest in tiny_kinks)


def test_loose_answers_are_compared_loosely(loose):
    backend = OffByOnePartInThousand()
    inputs = TINY.inputs(loose.seed, "float32", images(TINY.spec))
    found = verify(backend.prepare(TINY, inputs), TINY, loose, "float32")
    assert found.loose
    assert found.tolerance == LOOSE_TOLERANCE
    assert {entry.iterations for entry in found.errors} == {1}
    assert found.passed, found.reason
    strict = verify(backend.prepare(TINY, inputs), TINY, loose._replace(loose=False), "float32")
    assert not strict.loose
    assert strict.tolerance == TOLERANCES["float32", "ieee"]
    assert not strict.passed


def test_only_the_gated_iterations_are_compared(loose):
    answers = loose._replace(gated=3, loose=False, after={1: loose.after[1], 3: loose.after[8], 8: []})
    inputs = TINY.inputs(loose.seed, "float32", images(TINY.spec))
    found = verify(PreparedReference().prepare(TINY, inputs), TINY, answers, "float64")
    assert {entry.iterations for entry in found.errors} == {1, 3}
    assert "after 3 iterations" in found.reason  # the eighth's answers are not the third's


class PreparedReference(Reference):
    """The oracle as a backend, whose programs the gate can verify."""

    def synchronize(self, result=None):
        """There is nothing to wait for."""

    def prepare(self, operation, inputs):
        return BoundProgram(self, operation, inputs)


class OffByOnePartInThousand(PreparedReference):
    """What a flipped ReLU looks like; float32, and otherwise right."""

    def to_numpy(self, array):
        return (1.001 * np.asarray(array)).astype(np.float32)


def test_answers_are_those_of_the_inputs():
    case = operation("gan_iteration", replace(preset("tiny"), batch_norm=True))
    answers = solve(case, "float32", images(case.spec))
    inputs = case.inputs(answers.seed, "float32", images(case.spec))
    assert answers.digest == inputs.digest()
    assert answers.digest != case.inputs(answers.seed + 1, "float32", images(case.spec)).digest()
    assert answers.digest != case.inputs(answers.seed, "float64", images(case.spec)).digest()
    assert verify(PreparedReference().prepare(case, inputs), case, answers, "float64").max_rel_error == 0


@pytest.mark.parametrize("name", ["matmul", "generator_forward", "batch_norm_grad"])
def test_operations_without_state_are_always_gated_in_full(name):
    case = operation(name, preset("tiny"))
    answers = solve(case, "float32", images(case.spec))
    assert (answers.seed, answers.gated, answers.loose) == (0, GATED_ITERATIONS, False)


def test_the_margin_follows_the_dtype_and_the_width():
    narrow, wide = (GANIteration(preset(name)) for name in ("mnist-mlp", "wide"))
    assert kink_margin(narrow, "float32") == pytest.approx(2e-6)
    assert kink_margin(wide, "float32") == pytest.approx(2e-6 * (4096 / 784) ** 0.5)
    assert kink_margin(narrow, "float64") == pytest.approx(2e-6 * 2.0**-29)
