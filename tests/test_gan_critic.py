"""The work of an iteration with a critic, to the last FLOP, and what such a model has where it says nothing."""

import itertools

from hypothesis import given, strategies as st
from msgspec.structs import replace
from work_by_hand import G_PARAMS, B, H, X, Z, products_of

from ganbench.gan import GANSpec, preset, with_loss
from ganbench.operations import operation


def test_iteration_of_a_critic():
    """``mnist-wgan-gp`` by hand: its D has leaky ReLUs, which do not curve."""
    spec, K = preset("mnist-wgan-gp"), 256  # the width of both hidden layers  # noqa: N806
    step_on_critic = (
        2 * B * (Z * H + H * X)  # the fake rows
        + 2 * (3 * B) * (X * K + K * K)  # real, fake and mixed rows forward to the last hidden layer
        + 2 * (2 * B) * K  # the logits of real and fake rows
        + 2 * B * (K + K * K + K * X)  # down to the input of the mixed rows
        + 2 * B * (X * K + K * K)  # and up again
        + 2 * (3 * B) * (K * X + K * K + K)  # the weight gradients of D, of all rows
        + 2 * (2 * B) * (K + K * K)  # real and fake rows back to the first hidden layer
    )
    assert step_on_critic == 634_912_768
    assert spec.iteration_flops == 5 * step_on_critic + 298_975_232 == 3_473_539_072
    case = operation("gan_iteration", spec)
    d_params = X * K + K + K * K + K + K + 1
    values = 6 * (G_PARAMS + d_params) + 5 * B * (X + Z + 1) + B * Z + 3
    assert dict(case.shape) == {"critic_steps": 5, "batch": B, "generator": (Z, H, X), "discriminator": (X, K, K, 1)}
    assert case.bytes("float32") == 4 * values
    # Eleven products of matrices a step on D, nine of the step on G.
    floor = operation("gan_products", spec)
    assert len(floor.products) == 5 * 11 + 9
    with_vectors = 5 * 2 * B * (2 * K + K + 3 * K + 2 * K) + 2 * B * (K + K)
    assert floor.flops == spec.iteration_flops - with_vectors


def test_only_the_loss_says_what_is_not_given():
    critic = with_loss(preset("mnist-mlp"), "wgan-gp")
    assert (critic.critic_steps, critic.penalty, critic.lr, critic.beta1, critic.beta2) == (5, 10.0, 1e-4, 0.0, 0.9)
    assert with_loss(critic, "non-saturating") == preset("mnist-mlp")
    assert with_loss(replace(preset("mnist-mlp"), lr=3e-4), "wgan-gp").lr == 3e-4
    assert critic.describe() == "64-256-784 / 784-128-1, batch 128, wgan-gp (critic_steps 5, penalty 10)"


def _critic_products(spec):
    """Yield those of a Wasserstein GAN: the penalty as docs/workload.md derives it, formula by formula."""
    b, d = spec.batch, list(enumerate(itertools.pairwise(spec.discriminator), 1))
    bends = [number for number, _ in d if spec.discriminator_activations[number - 1] in ("tanh", "sigmoid")]
    for _ in range(spec.critic_steps):
        for n_in, n_out in itertools.pairwise(spec.generator):
            yield b, n_in, n_out
        for number, (n_in, n_out) in d:
            for _ in ("real", "fake"):
                yield b, n_in, n_out
                yield n_out, b, n_in
                if number > 1:
                    yield b, n_out, n_in
            yield b, n_out, n_in  # g = p W
            yield n_out, b, n_in  # pᵀ γ
            if number < len(d):
                yield b, n_in, n_out  # u of the mixed rows
                yield b, n_in, n_out  # π = γ Wᵀ
            if bends and number <= bends[-1]:
                yield n_out, b, n_in
                if number > 1:
                    yield b, n_out, n_in
    step_on_g = replace(spec, loss="saturating", critic_steps=1, penalty=0.0)
    everything = list(products_of(step_on_g))
    yield from everything[len(everything) - (3 * len(spec.generator) - 4 + 2 * len(d)) :]


WIDTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=6)
HIDDEN = st.lists(st.tuples(st.integers(2, 500), st.sampled_from(["relu", "tanh", "identity"])), max_size=5)


@given(WIDTHS, HIDDEN, st.integers(2, 500), st.integers(3, 512), st.integers(1, 7))
def test_flops_of_a_critic_are_those_of_its_products(generator, hidden, image, batch, steps):
    spec = GANSpec(
        generator=(*(width + 1 for width in generator), image),
        discriminator=(image, *(width for width, _ in hidden), 1),
        discriminator_activations=(*(activation for _, activation in hidden), "identity"),
        batch=batch,
        loss="wgan-gp",
        critic_steps=steps,
    )
    products = list(_critic_products(spec))
    assert spec.iteration_flops == sum(2 * m * k * n for m, k, n in products)
    floor = operation("gan_products", spec).flops
    assert floor == sum(2 * m * k * n for m, k, n in products if min(m, k, n) > 1)
