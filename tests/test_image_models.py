"""Models with convolutions: what they say, their work, and every fault by its place."""

from unittest import mock

import msgspec
import numpy as np
import pytest
from hypothesis import given
from msgspec.structs import replace
from random_images import image_models

from ganbench import registry
from ganbench.backend import Backend
from ganbench.data import load_images
from ganbench.errors import DataError, SpecError, UnsupportedError
from ganbench.gan import GANSpec, preset
from ganbench.layers import ConvTransposeTable, DenseTable, n_params, parameters
from ganbench.model_file import read_spec
from ganbench.operations import operation
from ganbench.results.case import model_label
from ganbench.testing import images
from ganbench.verification.choose_inputs import draw
from ganbench.verification.maps import NumpyMaps

HALF = "kind = 'conv', out = 4, kernel = 4, stride = 2, padding = 1"


def written(tmp_path, discriminator, more=""):
    """Return the file of a model whose discriminator has these entries behind its image."""
    path = tmp_path / "mine.toml"
    generator = "generator = [100, { kind = 'conv_transpose', out = 1, kernel = 8 }]"
    path.write_text(f"batch = 4\n{generator}\ndiscriminator = [[1, 8, 8], {discriminator}]\n{more}\n")
    return path


@pytest.mark.parametrize(
    ("name", "params", "least", "usual"),
    [
        ("dcgan-8", [12_945, 265], 1_763_328, 1_916_928),
        ("dcgan-28", [165_345, 10_097], 326_582_272, 371_302_400),
        ("dcgan-32", [143_841, 42_449], 721_723_392, 867_434_496),
        ("dcgan-64", [3_576_704, 2_765_568], 137_351_856_128, 158_968_315_904),
    ],
)
def test_presets_have_the_work_that_was_counted_by_an_independent_program(name, params, least, usual):
    spec = preset(name)
    assert [n_params(layers) for layers in (spec.generator_layers, spec.discriminator_layers)] == params
    assert (spec.iteration_flops, spec.usual_flops) == (least, usual)


def test_work_of_dense_layers_is_counted_one_way():
    assert preset("deep").usual_flops == preset("deep").iteration_flops


@given(image_models())
def test_no_more_is_counted_than_there_is(spec):
    """Each pair of a window and a tap that lie on the image, by looking at all."""
    for layer in (*spec.generator_layers, *spec.discriminator_layers):
        if window := getattr(layer, "window", None):
            c, o, k = window.big[0], window.small[0], window.kernel
            counted = NumpyMaps().conv(np.ones((1, *window.big)), np.ones((o, c, k, k)), window)
            assert layer.flops(1) == 2 * counted.sum()


def test_a_file_says_layers_as_tables(tmp_path):
    path = written(
        tmp_path, f"{{ {HALF}, activation = 'leaky_relu' }}, {{ {HALF}, bias = false, batch_norm = true }}, 1"
    )
    spec = read_spec(path)
    assert [name for name, _ in parameters(spec.discriminator_layers)] == [
        "W1",
        "b1",
        "W2",
        "gamma2",
        "beta2",
        "W3",
        "b3",
    ]
    assert spec.generator == (100, ConvTransposeTable(out=1, kernel=8, activation="sigmoid"))
    assert [layer.activation for layer in spec.discriminator_layers if layer.count] == [
        "leaky_relu",
        "relu",
        "identity",
    ]
    assert msgspec.json.decode(msgspec.json.encode(spec), type=GANSpec) == spec
    assert spec.widths == "100-1x8x8 / 1x8x8-4x4x4-4x2x2-1"


AT = r" - at `\$\.discriminator"
FAULTS = [
    ("{ kind = 'conv', out = 4, kernel = 9 }, 1", "kernel 9 with padding 0 leaves no pixel of 1 × 8 × 8, which"),
    ("{ kind = 'conv', out = 4, kernel = 9 }, 1", rf"which discriminator\[0\] gives{AT}\[1\]\.kernel`"),
    (f"{{ {HALF} }}, {{ kind = 'conv', out = 1, kernel = 5 }}", rf"4 × 4 × 4, .*\[1\] gives{AT}\[2\]\.kernel`"),
    ("{ kind = 'conv', out = 4, kernel = 2, padding = 2 }, 1", rf"padding 2 .* below the kernel, 2{AT}\[1\]\.padding`"),
    ("{ kind = 'conv', out = 0, kernel = 2 }, 1", rf"out 0 is not valid: at least 1{AT}\[1\]\.out`"),
    ("{ kind = 'conv', out = 2, kernel = 2, stride = 0 }, 1", rf"stride 0 .*{AT}\[1\]\.stride`"),
    ("{ kind = 'conv', out = 2, kernel = 2, padding = -1 }, 1", rf"padding -1 .* at least 0{AT}\[1\]\.padding`"),
    ("{ kind = 'conv', out = 2 }, 1", rf"it lacks `kernel`{AT}\[1\]`"),
    ("{ kind = 'convolution', out = 2 }, 1", rf"'convolution'{AT}\[1\]\.kind` \(kinds: dense, conv, conv_transpose, "),
    ("{ kind = 'conv', out = 2, kernel = 1.5 }, 1", rf"Expected `int`, got `float`{AT}\[1\]\.kernel`"),
    ("{ kind = 'conv', out = 2, kernel = 1, groups = 2 }, 1", rf"unknown field `groups`{AT}\[1\]`"),
    ("{ kind = 'reshape', shape = [1, 8, 9] }, 1", rf"1 × 8 × 9 is not as many values .*{AT}\[1\]\.shape`"),
    ("{ kind = 'reshape', shape = [1, 8, 8] }", "must begin with its input, .* and have a layer behind it"),
    ("[1, 8, 8], 1", rf"\[1, 8, 8\], can only be the first entry{AT}\[1\]`"),
    (f"{{ {HALF} }}, [1, 8, 8], 1", rf"can only be the first entry{AT}\[2\]`"),
    (f"{{ {HALF} }}", "ends in width 4 × 4 × 4: it must be 1, the logit"),
    ("{ kind = 'dense', out = 1, activation = 'tanh' }", "ends in 'tanh': it must be 'identity'"),
]


@pytest.mark.parametrize(("layers", "message"), FAULTS)
def test_a_fault_names_its_place(tmp_path, layers, message):
    with pytest.raises(SpecError, match=message):
        read_spec(written(tmp_path, layers))


def test_what_is_for_lists_of_integers_is_not_for_tables(tmp_path):
    path = written(tmp_path, f"{{ {HALF} }}, 1", "discriminator_activations = ['relu', 'identity']")
    with pytest.raises(SpecError, match=r"discriminator_activations is for lists of integers: `\$\.discriminator` has"):
        read_spec(path)


def test_batch_norm_in_d_mixes_the_rows_of_a_penalty(tmp_path):
    path = written(tmp_path, f"{{ {HALF}, batch_norm = true }}, 1", "loss = 'wgan-gp'")
    with pytest.raises(SpecError, match=r"batch norm in the discriminator .* 'wgan-gp': .* batch norm mixes rows"):
        read_spec(path)
    with pytest.raises(SpecError, match="batch norm mixes rows"):
        operation("penalty_grad", preset("dcgan-28"))


def test_batch_norm_of_a_model_is_not_for_tables():
    with pytest.raises(SpecError, match=r"batch_norm is for lists of integers: `\$\.generator` has tables"):
        replace(preset("dcgan-8"), batch_norm=True)


def test_images_of_two_networks_must_be_the_same():
    with pytest.raises(SpecError, match="makes images of 1 × 8 × 8, but the discriminator takes images of 1 × 4 × 16"):
        replace(preset("dcgan-8"), discriminator=((1, 4, 16), 1))


def test_batch_norm_of_images_needs_three_values_a_channel():
    """A pixel is a row: one image of 4 × 4 is enough, two vectors are not."""
    assert replace(preset("dcgan-8"), batch=1).batch == 1
    normed = (5, DenseTable(out=64, batch_norm=True))
    with pytest.raises(SpecError, match="batch 2 is not valid: at least 3 with batch norm"):
        GANSpec(generator=normed, discriminator=(64, 1), batch=2)


def test_a_model_is_named_by_all_that_its_layers_say():
    spec = preset("dcgan-8")
    other = replace(spec, generator=(100, replace(spec.generator[1], batch_norm=False), spec.generator[2]))
    unnamed = [replace(one, name="mine") for one in (spec, other, replace(spec, init="uniform"))]
    assert len({*map(model_label, (spec, other, *unnamed))}) == 5
    assert model_label(spec) == "dcgan-8"
    assert "init uniform" in model_label(replace(spec, init="uniform"))


def test_digits_are_grey():
    assert load_images(preset("dcgan-28"), None).shape == (1797, 784)
    colour = replace(preset("dcgan-8"), generator=(4, 256), discriminator=((4, 8, 8), 1))  # 16 × 16 values
    for spec in (preset("dcgan-64"), colour):
        with pytest.raises(DataError, match="no grey square: pass --data"):
            load_images(spec, None)


def test_dcgan_begins_as_the_paper_says():
    inputs = operation("gan_iteration", preset("dcgan-28")).inputs(0, "float64", images(preset("dcgan-28")))
    g, d = inputs.state[:2]
    assert [round(float(w.std()), 4) for w in (g.params[0], d.params[2])] == pytest.approx([0.02, 0.02], rel=0.05)
    assert abs(g.params[1].mean() - 1) < 0.02
    assert not g.params[2].any()
    assert not d.params[1].any()


def test_a_backend_says_which_layers_it_has():
    class Older(registry.load("numpy")):
        layers = Backend.layers

    case = operation("gan_iteration", preset("dcgan-8"))
    with pytest.raises(
        UnsupportedError, match="not written for conv, conv_transpose layers, only for lists of integers"
    ):
        Older().require_layers(case)
    Older().require_layers(operation("gan_iteration", preset("mnist-mlp")))
    Older().require_layers(operation("adam_step", preset("dcgan-8")))


def test_a_dense_model_in_tables_is_verified_as_one_of_integers():
    integers = preset("tiny")
    last = DenseTable(out=36, activation="sigmoid")
    tables = replace(integers, generator=(8, 16, last), generator_activations=())
    for spec, images_of in ((integers, False), (tables, False), (preset("dcgan-8"), True)):
        assert spec.convolutional is images_of
    # Inputs too near a kink are passed over in both, so the same seed is drawn.
    widely = [operation("gan_iteration", spec) for spec in (integers, tables)]
    with mock.patch("ganbench.verification.choose_inputs.KINK_MARGIN", 1.0):
        seeds = [draw(one, "float32", images(one))[0] for one in widely]
    assert seeds[0] == seeds[1] > 0
