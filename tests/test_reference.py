"""The oracle's formulas: by finite differences, and against torch autograd."""

import numpy as np
import pytest
from finite_differences import differences, relative, staged

from ganbench.backend import GANState, NetworkState
from ganbench.gan import BATCH_NORM_EPS, GANSpec, preset
from ganbench.operations.networks import GANIteration
from ganbench.testing import images
from ganbench.verification.choose_inputs import collected
from ganbench.verification.reference import Reference

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "identity")
LOSSES = ("non-saturating", "saturating", "hinge", "least-squares")


# Finite differences -------------------------------------------------------------------------------------


def batch_of(spec, rng):
    real = rng.uniform(*spec.data_range, (spec.batch, spec.img_dim))
    return real, *rng.standard_normal((2, spec.batch, spec.z_dim))


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
    state, batch = staged(spec, batch_of)
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
    for layer in layers:
        modules.append(nn.Linear(layer.n_in, layer.n_out, bias=not layer.batch_norm))
        if layer.batch_norm:
            modules.append(nn.BatchNorm1d(layer.n_out))
        modules.append(named.get(layer.activation, nn.Identity()))
    network = nn.Sequential(*modules).double()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), start, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return network


def losses_by_hand(torch):
    """Return, by name, D's loss of its outputs on real and on fake rows, and G's: written as the papers write them."""
    bce, square, relu = torch.nn.BCEWithLogitsLoss(), torch.square, torch.relu
    one, zero = torch.ones_like, torch.zeros_like

    def goodfellow(real, fake):
        return bce(real, one(real)) + bce(fake, zero(fake))

    return {
        "non-saturating": (goodfellow, lambda fake: bce(fake, one(fake))),
        "saturating": (goodfellow, lambda fake: -bce(fake, zero(fake))),
        "hinge": (lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(), lambda fake: -fake.mean()),
        "least-squares": (
            lambda real, fake: 0.5 * square(real - 1).mean() + 0.5 * square(fake).mean(),
            lambda fake: 0.5 * square(fake - 1).mean(),
        ),
    }


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
        eps=1e-3 if loss == "hinge" else 1e-8,  # its gradients on real and fake rows may leave nothing but noise
    )
    state, _ = staged(spec, batch_of)
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
    d_loss_of, g_loss_of = losses_by_hand(torch)[loss]
    rng, oracle = np.random.default_rng(1), Reference()
    for _ in range(6):
        real = rng.uniform(*spec.data_range, (23, 11))
        z_d, z_g = rng.standard_normal((2, 23, 7))
        state, *losses = oracle.gan_iteration(spec, state, real, z_d, z_g)

        real, z_d, z_g = map(torch.from_numpy, (real, z_d, z_g))
        d_loss = d_loss_of(d(real), d(g(z_d).detach()))
        adam_d.zero_grad()
        d_loss.backward()
        adam_d.step()
        g_loss = g_loss_of(d(g(z_g)))
        adam_g.zero_grad()
        g_loss.backward()
        adam_g.step()

        assert relative(losses, [d_loss.item(), g_loss.item()]) < 1e-12
        for ours, theirs in ((state.generator, torch_state(g, adam_g)), (state.discriminator, torch_state(d, adam_d))):
            for part, one, other in zip(NetworkState._fields, ours, theirs, strict=True):
                assert len(one) == len(other), part
                assert not one or relative(one, other) < 1e-12, part


@pytest.mark.parametrize("name", ["tiny", "mnist-mlp-bn", "dcgan-8", "dcgan-28"])
def test_an_iteration_takes_no_product_that_nobody_asks_for(name):
    made = []

    class Counting(Reference):
        def _product(self, a, b):
            made.append(2 * len(a) * a.shape[1] * b.shape[1])
            return super()._product(a, b)

    case = GANIteration(preset(name))
    collected(Counting(), case, case.inputs(0, "float32", images(case)), (1,))
    assert sum(made) == case.usual_flops
