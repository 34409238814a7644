"""What presets learn: the same on every backend, and more than one image.

A discriminator that has become affine teaches its generator one image at most, the mean.
"""

import functools

import numpy as np
import pytest
from msgspec.structs import replace

from ganbench import registry
from ganbench.data import load_images, staged_images
from ganbench.gan import STAGED_BATCHES, preset
from ganbench.operations.networks import GANIteration, initial_state
from ganbench.training.batches import Fed, stream
from ganbench.training.pictures import generate
from ganbench.training.state import assemble

pytest.importorskip("torch")
pytest.importorskip("jax")
AFFINE = 1e-4  # of the spread of D's outputs; rounding makes 1e-6 of it at most
IMAGES, ITERATIONS = preset("dcgan-8"), 56  # seven times what is fed at once
LARGE = (
    "mnist-mlp",
    "mnist-mlp-bn",
    "deep",
    "speech",
    "wide",
    "dcgan-28",
    "dcgan-32",
)  # dcgan-64 needs colours
TARGETS = [
    pytest.param(name, mode, id=f"{name}.{mode}", marks=[pytest.mark.modes] * bool(number))
    for name in ("numpy", "torch", "jax")
    for number, mode in enumerate(registry.load(name).modes)
    if mode != "graph" and (name, number) != ("numpy", 0)  # graph: on a GPU
]


@functools.cache
def trained(name, mode, spec, iterations, dtype="float32"):
    """Train on the digits as ``ganbench train`` does; return what each iteration reported, and the GAN."""
    backend = registry.load(name)(mode)
    rows, operation = load_images(spec, None).astype(dtype), GANIteration(spec)
    program = backend.prepare(operation, operation.inputs(0, dtype, staged_images(rows, spec, 0)))
    fed = Fed(backend, program, stream(rows, spec, 0, 0), initial_state(np.random.default_rng(0), spec, dtype))
    for _ in range(iterations // STAGED_BATCHES):
        fed.advance(STAGED_BATCHES)
    return fed.read_losses(wait=True), assemble(spec, program.outputs()[: -len(spec.reported)], iterations)


@pytest.mark.parametrize(("name", "mode"), TARGETS)
def test_every_backend_learns_the_same_from_images(name, mode):
    (ours, gan), (theirs, reference) = (
        trained(*target, IMAGES, ITERATIONS, "float64") for target in ((name, mode), ("numpy", ""))
    )
    assert ours.shape == (ITERATIONS, 2)
    assert abs(ours - theirs).max() < 1e-9
    for network, same in zip(gan[:2], reference[:2], strict=True):
        for array, other in zip(network.params, same.params, strict=True):
            np.testing.assert_allclose(array, other, rtol=0, atol=1e-8)
    assert ours[-8:, 1].mean() < ours[:8, 1].mean() or ours[-8:, 0].mean() < ours[:8, 0].mean(), "something is learned"


def bend_after(spec, iterations):
    """Train; return how far D lies off the middle between its outputs on real and made images, in their spread."""
    _, gan = trained("torch", "" if spec.kinds else "manual", spec, iterations)
    rows = load_images(spec, None).astype("float32")
    z = np.random.default_rng(1).standard_normal((128, spec.z_dim)).astype("float32")
    real, made = rows[:128], generate(spec, gan.generator.params, gan.generator.running, z)
    images = np.concatenate([real, made, (real + made) / 2])  # together, so that batch norm is one map of all
    outputs = np.asarray(registry.load("numpy")().discriminator_forward(spec, gan.discriminator.params, images))
    of_real, of_made, of_middle = np.split(outputs, 3)
    return (of_middle - (of_real + of_made) / 2).std() / outputs.std()


@pytest.mark.parametrize(
    ("name", "iterations"),
    [
        ("tiny", 40),
        ("dcgan-8", 40),
        *(pytest.param(name, 40, marks=pytest.mark.large) for name in LARGE),
        pytest.param("mnist-wgan-gp", 160, marks=pytest.mark.large),
    ],
)
def test_no_discriminator_of_a_preset_becomes_affine(name, iterations):
    assert bend_after(preset(name), iterations) > AFFINE


@pytest.mark.large
def test_a_critic_of_one_hidden_layer_does():
    """What ``mnist-wgan-gp`` was before: all 128 units of its critic came to lie on one side of their kink."""
    layers = {"discriminator": (784, 128, 1), "discriminator_activations": ("leaky_relu", "identity")}
    before = replace(preset("mnist-wgan-gp"), generator_activations=("relu", "sigmoid"), **layers)
    assert bend_after(before, 80) < AFFINE / 100
