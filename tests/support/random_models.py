"""Any model that ganbench takes, of up to 128 units a layer."""

from hypothesis import strategies as st

from ganbench.gan import GANSpec
from ganbench.losses import LOSSES

ACTIVATIONS = st.sampled_from(["relu", "leaky_relu", "tanh", "sigmoid", "identity"])
WIDTH = st.integers(1, 128)


@st.composite
def models(draw, losses=tuple(LOSSES)):
    generator = draw(st.lists(WIDTH, min_size=2, max_size=6))
    hidden = draw(st.lists(WIDTH, max_size=5))
    batch_norm = draw(st.booleans())
    loss = draw(st.sampled_from(losses))
    critic = {"critic_steps": draw(st.integers(1, 6)), "penalty": draw(st.sampled_from([0.0, 0.1, 1.0, 10.0]))}
    steps = draw(st.sampled_from([1, 1, 1, 2]))
    return GANSpec(
        name="random",
        generator=tuple(generator),
        discriminator=(generator[-1], *hidden, 1),
        batch=draw(st.integers(3 if batch_norm else 1, 64)),
        batch_norm=batch_norm,
        generator_activations=tuple(draw(ACTIVATIONS) for _ in generator[1:]),
        discriminator_activations=(*(draw(ACTIVATIONS) for _ in hidden), "identity"),
        loss=loss,
        lr=draw(st.sampled_from([1e-5, 2e-4, 1e-3, 1e-2])),
        beta1=draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])),
        beta2=draw(st.sampled_from([0.9, 0.99, 0.999])),
        eps=draw(st.sampled_from([1e-8, 1e-7, 1e-6])),
        **(critic if LOSSES[loss].penalised else {"critic_steps": steps}),
    )
