"""The model: its work to the last FLOP, and every model that cannot exist."""

import math

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace
from work_by_hand import D_PARAMS, G_PARAMS, B, D, H, X, Z, products_of

from ganbench.errors import SpecError, UsageError
from ganbench.gan import PRESETS, GANSpec, preset
from ganbench.layers import parameters
from ganbench.model_file import as_toml, read_spec
from ganbench.operation import Shape
from ganbench.operations import LAYERS, OPERATIONS, operation, operations_of, shape_of

MNIST = preset("mnist-mlp")


# The work of an iteration -------------------------------------------------------------------------------


def test_mnist_iteration_flops():
    assert MNIST.iteration_flops == 372_506_624


def test_mnist_parameters():
    generator, discriminator = (
        sum(math.prod(shape) for _, shape in parameters(layers))
        for layers in (MNIST.generator_layers, MNIST.discriminator_layers)
    )
    assert generator == 218_128
    assert discriminator == 100_609
    assert MNIST.n_params == 318_737


def test_parameters_of_a_normalised_layer_have_no_bias():
    layers = preset("mnist-mlp-bn").generator_layers
    assert parameters(layers) == [
        ("W1", (256, 64)),
        ("gamma1", (256,)),
        ("beta1", (256,)),
        ("W2", (784, 256)),
        ("b2", (784,)),
    ]


# FLOP, values that one iteration must read and write, and shape, each counted by hand.
WORK = {
    "matmul": (2 * B * H * X, B * H + H * X + B * X, (B, H, X)),
    "matmul_grad": (4 * B * H * X, 2 * (B * H + H * X) + B * X, (B, H, X)),
    "batch_norm": (6 * B * H, 2 * B * H + 4 * H, (B, H)),
    "batch_norm_grad": (11 * B * H, 3 * B * H + 4 * H, (B, H)),
    "adam_step": (12 * G_PARAMS, 7 * G_PARAMS, (G_PARAMS,)),
    "generator_forward": (2 * B * (Z * H + H * X), G_PARAMS + B * (Z + X), (B, Z, H, X)),
    "discriminator_forward": (2 * B * (X * D + D), D_PARAMS + B * (X + 1), (B, X, D, 1)),
    "penalty_grad": (
        # Forward to the hidden layer; down from (B, 1) by D's two layers; up to the hidden one; gradients of both.
        2 * B * (X * D + (D + D * X) + X * D + (D * X + D)),
        2 * D_PARAMS + B * X,
        (B, X, D, 1),
    ),
    "gan_products": (
        # Eleven products: D step forward of G and D, gradient of D's W; G step forward, down to G's hidden layer.
        2 * B * (2 * (Z * H + H * X) + 2 * X * D + 2 * D * X + X * D + D * X + X * H + X * H + H * Z),
        2 * (B * Z + Z * H + B * H + H * X)
        + 2 * (2 * B * X)
        + X * D
        + 2 * B * D  # D step
        + B * X
        + X * D
        + B * D
        + D * X
        + B * X
        + B * H
        + B * X
        + X * H
        + B * H
        + B * Z  # G step
        + 2 * (B * H + B * X)
        + 2 * B * D
        + D * X
        + B * D
        + B * X
        + X * H
        + B * H
        + H * Z,  # the products themselves
        (B, Z, H, X, D, 1),
    ),
    "gan_iteration": (372_506_624, 6 * (G_PARAMS + D_PARAMS) + B * (X + 2 * Z) + 2, (B, Z, H, X, D, 1)),
}


@pytest.mark.parametrize("name", operations_of(MNIST))
def test_mnist_operation(name):
    flops, values, shape = WORK[name]
    case = operation(name, MNIST)
    assert case.flops == flops
    assert case.bytes("float32") == 4 * values
    assert case.bytes("float64") == 8 * values
    assert case.shape.sizes == shape


def test_running_statistics_are_read_and_written():
    plain, normalised = (operation("gan_iteration", preset(name)) for name in ("mnist-mlp", "mnist-mlp-bn"))
    # gamma for b, so beta is what comes on top: value and both moments; then the running mean and variance
    assert normalised.bytes("float32") - plain.bytes("float32") == 4 * (2 * (3 * H) + 2 * (2 * H))


def test_unknown_operation():
    with pytest.raises(UsageError, match=r"unknown operation 'matmull' .*known: .*matmul, "):
        operation("matmull", MNIST)


WIDTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=6)


@given(WIDTHS, WIDTHS, st.integers(1, 5000), st.integers(3, 4096), st.booleans())
def test_iteration_flops_are_those_of_its_products(generator, hidden, image, batch, batch_norm):
    spec = GANSpec(generator=(*generator, image), discriminator=(image, *hidden, 1), batch=batch, batch_norm=batch_norm)
    assert spec.iteration_flops == sum(2 * m * k * n for m, k, n in products_of(spec))


# Models that cannot exist -------------------------------------------------------------------------------

IMPOSSIBLE = [
    ({"generator": (784,)}, r"generator widths \[784\] .*at least two positive integers"),
    ({"generator": ()}, r"generator widths \[\] .*at least two positive integers"),
    ({"discriminator": (784,)}, r"discriminator widths \[784\] .*at least two positive integers"),
    ({"generator": (64, 0, 784)}, r"generator widths \[64, 0, 784\] .*positive"),
    ({"discriminator": (784, -128, 1)}, r"discriminator widths \[784, -128, 1\] .*positive"),
    ({"generator": (64, 256, 783)}, "width 783, but the discriminator takes width 784.*equal"),
    ({"discriminator": (784, 128, 2)}, "ends in width 2: it must be 1"),
    ({"discriminator_activations": ("relu", "sigmoid")}, "ends in 'sigmoid': it must be 'identity'"),
    ({"generator_activations": ("relu",)}, r"generator_activations names 1 layers, but .* make 2"),
    ({"discriminator_activations": ("relu",) * 3}, r"discriminator_activations names 3 layers, but .* make 2"),
    ({"batch": 0}, "batch 0 is not valid: at least 1$"),
    ({"batch": -5}, "batch -5 is not valid: at least 1$"),
    ({"batch": 2, "batch_norm": True}, "batch 2 is not valid: at least 3 with batch norm"),
    ({"lr": 0.0}, r"lr 0\.0, .*must be positive"),
    ({"lr": math.nan}, "lr nan, .*must be positive"),
    ({"beta1": 1.0}, r"beta1 1\.0, .*betas in \[0, 1\)"),
    ({"beta1": -0.5}, r"beta1 -0\.5, .*betas in \[0, 1\)"),
    ({"beta2": 1.5}, r"beta2 1\.5, .*betas in \[0, 1\)"),
    ({"eps": 0.0}, r"eps 0\.0 .*must be positive"),
    ({"loss": "wgan-gp", "critic_steps": 0}, "critic_steps 0 and penalty 10.0 are not valid: .*at least 1"),
    ({"loss": "wgan-gp", "penalty": -1.0}, "critic_steps 5 and penalty -1.0 are not valid: .*not negative"),
    ({"loss": "wgan-gp", "penalty": math.inf}, "penalty inf are not valid: .*finite"),
    ({"loss": "saturating", "penalty": 10.0}, "penalty 10.0 is not valid with loss .saturating., .*choose .*wgan-gp"),
    ({"loss": "hinge", "critic_steps": 0}, "critic_steps 0 and penalty 0.0 are not valid: .*at least 1"),
]


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE, ids=[str(change) for change, _ in IMPOSSIBLE])
def test_impossible_model(change, message):
    fields = {"generator": (64, 256, 784), "discriminator": (784, 128, 1), "batch": 128, **change}
    with pytest.raises(SpecError, match=message):
        GANSpec(**fields)


def test_smallest_models():
    assert GANSpec(generator=(1, 1), discriminator=(1, 1), batch=1).n_params == 4
    assert GANSpec(generator=(1, 1, 1), discriminator=(1, 1), batch=3, batch_norm=True).n_params == 7


def test_default_activations():
    assert MNIST.generator_activations == ("relu", "sigmoid")
    assert MNIST.discriminator_activations == ("relu", "identity")


def test_data_range_is_what_the_generator_can_make():
    assert MNIST.data_range == (0.0, 1.0)
    assert preset("speech").data_range == (-1.0, 1.0)


def test_unknown_preset():
    with pytest.raises(UsageError, match=r"unknown preset 'mnist' .*known: .*mnist-mlp, mnist-mlp-bn"):
        preset("mnist")


def test_describe():
    assert MNIST.describe() == "64-256-784 / 784-128-1, batch 128"
    assert preset("mnist-mlp-bn").describe() == "64-256-784 / 784-128-1, batch 128, batch norm"


# Models from a file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS)
def test_toml_round_trip(tmp_path, spec):
    path = tmp_path / "model.toml"
    path.write_text(as_toml(spec))
    assert read_spec(path) == spec


def test_toml_by_hand(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("generator = [2, 4]\ndiscriminator = [4, 1]\nbatch = 5\nlr = 1\n")
    assert read_spec(path) == GANSpec(
        name="mine", generator=(2, 4), discriminator=(4, 1), batch=5, lr=1.0, generator_activations=("sigmoid",)
    )


MODEL = "generator = [2, 4]\ndiscriminator = [4, 1]\nbatch = 5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL + "btach = 3\n", "`btach`.*fields: generator, discriminator, batch"),
        (MODEL.replace("5", "'five'"), r"Expected `int`, got `str` - at `\$\.batch`"),
        (
            MODEL.replace("2, 4", "2, 4.5"),
            r"Expected an integer, .* table with a kind, got `float` - at `\$\.generator",
        ),
        (MODEL + "loss = 'hing'\n", r"unknown loss 'hing' \(known: hinge, least-squares"),
        (MODEL + "generator_activations = ['gelu']\n", r"'gelu' - at `\$\.generator_activations"),
        ("batch = 5\n", "it lacks `generator`"),
        ("generator = [2, 4\n", "is not valid: "),
        ("\x00", "is not valid: "),
        (MODEL.replace("[4, 1]", "[4, 2]"), "ends in width 2: it must be 1"),
    ],
    ids=["unknown", "type", "fraction", "loss", "activation", "missing", "syntax", "binary", "impossible"],
)
def test_faulty_toml(tmp_path, text, message):
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_toml_that_is_not_text(tmp_path):
    path = tmp_path / "model.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"model\.toml is not valid"):
        read_spec(path)


def test_missing_toml(tmp_path):
    with pytest.raises(SpecError, match=r"cannot read model .*model\.toml: No such file"):
        read_spec(tmp_path / "model.toml")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_named_after_their_key(name):
    assert PRESETS[name].name == name


# Shapes -------------------------------------------------------------------------------------------------


def test_a_shape_has_named_parts():
    shape = operation("gan_iteration", preset("mnist-wgan-gp")).shape
    assert dict(shape) == {"critic_steps": 5, "batch": B, "generator": (Z, H, X), "discriminator": (X, 256, 256, 1)}
    assert (shape.batch, str(shape)) == (B, f"5x{B}x{Z}x{H}x{X}x256x256x1")
    assert Shape(**{**shape, "batch": 1}).sizes == (5, 1, Z, H, X, 256, 256, 1)
    assert hash(shape) == hash(operation("gan_products", preset("mnist-wgan-gp")).shape)
    assert operation("adam_step", MNIST).shape.batch is None
    assert operation("matmul", MNIST).shape.batch == B


RECORDED = (MNIST, preset("mnist-wgan-gp"), replace(preset("tiny"), batch=3, name="other"), preset("dcgan-28"))


@pytest.mark.parametrize(("spec", "name"), [(spec, name) for spec in RECORDED for name in operations_of(spec)])
def test_recorded_sizes_get_their_names_back(name, spec):
    """From the model of their run, or without one from the operation and the presets, as in asv's files."""
    shape = operation(name, spec).shape
    assert shape_of(name, shape.sizes, spec) == shape_of(name, shape.sizes) == shape


@pytest.mark.parametrize(("name", "sizes"), [("matmul", (1, 2)), ("gan_iteration", (1, 2, 3, 1)), ("bygone", (7,))])
def test_sizes_that_nobody_knows_have_one_name(name, sizes):
    assert shape_of(name, sizes) == shape_of(name, sizes, MNIST) == Shape(sizes=sizes)
    assert str(shape_of(name, sizes)) == "x".join(map(str, sizes))


@pytest.mark.parametrize("name", [*(kind.name for kind in LAYERS), "adam_step"])
def test_an_operation_of_its_own_sizes_is_that_of_the_model(name):
    of_model = operation(name, preset("dcgan-28"))
    own = OPERATIONS[name].sized(of_model.shape.sizes)
    assert (own.shape, own.flops, own.bytes("float32")) == (of_model.shape, of_model.flops, of_model.bytes("float32"))
    if name != "adam_step":
        assert own == of_model
