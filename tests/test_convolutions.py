"""One convolution alone: which it is, what every mode makes of it, and what the gate says of mistakes."""

import numpy as np
import pytest
from ganbench.backends.numpy_backend import NumpyBackend
from hypothesis import assume, given, settings, strategies as st
from msgspec.structs import replace
from random_images import image_models

from ganbench import registry
from ganbench.array_ops import ArrayOps
from ganbench.errors import SpecError, UnsupportedError
from ganbench.gan import GANSpec, preset
from ganbench.layers import Conv, ConvTable, ConvTranspose, ConvTransposeTable
from ganbench.measure.engine import first_call
from ganbench.measure.plan import make_plan
from ganbench.operations import CONVOLUTIONS, DEFAULT_OPERATIONS, operation, operations_of
from ganbench.testing import answers
from ganbench.verification.choose_inputs import collected
from ganbench.verification.gate import group_errors, verify
from ganbench.verification.models import IMAGE_SPECS
from ganbench.verification.reference import Reference

NAMES = tuple(kind.name for kind in CONVOLUTIONS)
DCGAN = preset("dcgan-28")


# Which it is --------------------------------------------------------------------------------------------


@given(image_models())
def test_it_is_the_first_of_the_heaviest_layers_of_its_kind(spec):
    layers = [*spec.generator_layers, *spec.discriminator_layers]
    for name, kind in zip(NAMES, (Conv, Conv, ConvTranspose, ConvTranspose), strict=True):
        own = [layer for layer in layers if isinstance(layer, kind)]
        assert (name in operations_of(spec)) == bool(own)
        if not own:
            continue
        case, most = operation(name, spec), max(layer.flops(spec.batch) for layer in own)
        heaviest = next(layer for layer in own if layer.flops(spec.batch) == most)
        assert case.layer.window == heaviest.window
        maps = 1 + name.endswith("grad")
        assert (case.flops, case.usual_flops) == (maps * most, maps * heaviest.usual_flops(spec.batch))


def test_of_equals_it_is_that_of_the_generator():
    half = {"kernel": 4, "stride": 2, "padding": 1}
    spec = GANSpec(
        generator=((1, 8, 8), ConvTable(out=3, **half), ConvTransposeTable(out=1, **half)),
        discriminator=((1, 8, 8), ConvTable(out=3, **half, bias=False), 1),
        batch=4,
    )
    assert operation("conv2d", spec).layer.window == spec.generator_layers[1].window
    assert operation("conv2d", DCGAN).shape.sizes == (32, 16, 14, 14, 32, 4, 2, 1)
    assert operation("conv_transpose2d", DCGAN).shape.sizes == (32, 32, 7, 7, 16, 4, 2, 1)


def test_by_default_convolutions_take_the_place_of_products():
    assert make_plan(preset("mnist-mlp"), backends="numpy").operations == DEFAULT_OPERATIONS
    assert make_plan(DCGAN, backends="numpy").operations == (*NAMES, "batch_norm", "adam_step", "gan_iteration")
    turned = replace(DCGAN, discriminator=((1, 28, 28), 1))
    assert make_plan(turned, backends="numpy").operations == (*NAMES[2:], "batch_norm", "adam_step", "gan_iteration")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_such_a_layer_has_no_such_operation(name):
    assert name not in make_plan(preset("tiny"), ops="all", backends="numpy").operations
    with pytest.raises(SpecError, match=f"model tiny has no conv.* layer, so no {name}: try --preset dcgan-28"):
        make_plan(preset("tiny"), ops=f"matmul,{name}", backends="numpy")


def test_all_operations_are_those_that_the_model_has():
    assert "penalty_grad" not in make_plan(DCGAN, ops="all", backends="numpy").operations  # D has batch norm
    with pytest.raises(SpecError, match="the gradient penalty is taken row by row"):
        make_plan(DCGAN, ops="penalty_grad", backends="numpy")


def test_a_backend_without_it_says_so():
    class Other(NumpyBackend):
        convolution, convolution_grad = ArrayOps.convolution, ArrayOps.convolution_grad

    class Older(Other):
        layers = ()

    for name, words in zip(NAMES, ("no convolution alone", "no gradient of a convolution alone") * 2, strict=True):
        case = operation(name, DCGAN)
        for backend, reason in ((Other(), words), (Older(), f"not written for {case.kind} layers, only for lists of")):
            with pytest.raises(UnsupportedError, match=reason):
                first_call(backend, case, case.inputs(0, "float32", np.empty(0)))


# Every mode ---------------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    """An operation of any sizes that give a pixel."""
    kind = draw(st.sampled_from(CONVOLUTIONS))
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, most)) for most in (3, 9, 6, 7, 9)]
    case = kind.sized((*sizes, kernel, stride, draw(st.integers(0, kernel - 1))))
    assume(min(case.layer.out_shape) > 0)
    return case


def agree(case, label):
    backend, _, mode = label.partition(".")
    inputs = case.inputs(0, "float64", np.empty(0))
    program, _, _ = first_call(registry.load(backend)(mode), case, inputs)
    program()  # what the first call gave is not asked for again
    expected = collected(Reference(), case, inputs, (2,))[2]
    assert max(error.error for error in group_errors(program.outputs(), expected, case.outputs(), 2)) < 1e-13


@pytest.mark.odd
@settings(max_examples=60, derandomize=True)
@given(cases())
def test_every_mode_agrees_with_the_oracle_at_any_size(case):
    for label in ("numpy", "numpy.inplace"):
        agree(case, label)


@pytest.mark.odd
@settings(max_examples=40, derandomize=True)
@given(cases())
def test_modes_of_torch_agree_with_the_oracle_at_any_size(case):
    pytest.importorskip("torch")
    for label in ("torch", "torch.textbook"):
        agree(case, label)


@pytest.mark.parametrize("mode", ["jit", pytest.param("custom", marks=pytest.mark.modes)])
@pytest.mark.parametrize("sizes", [(2, 3, 6, 7, 4, 4, 2, 1), (3, 2, 1, 1, 5, 4, 1, 0), (2, 1, 5, 8, 9, 3, 3, 2)])
@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=lambda kind: kind.name)
def test_modes_of_jax_agree_with_the_oracle(kind, sizes, mode):
    pytest.importorskip("jax")
    if kind.kind == "conv" and sizes[2] == 1:
        sizes = (3, 2, 4, 4, 5, 4, 1, 0)  # one window
    agree(kind.sized(sizes), f"jax.{mode}")


# Mistakes -----------------------------------------------------------------------------------------------


class KernelTurnedRound(NumpyBackend):
    def conv(self, x, w, window):
        return super().conv(x, w[:, :, ::-1, ::-1], window)

    def conv_transpose(self, y, w, window):
        return super().conv_transpose(y, w[:, :, ::-1, ::-1], window)

    def conv_weight_grad(self, x, y, window):
        return super().conv_weight_grad(x, y, window)[:, :, ::-1, ::-1]


def shifted(x, window):
    """Return big images one pixel to the right, with 0 on the left."""
    c, height, width = window.big
    image = np.zeros((len(x) // (height * width), height, width, c), x.dtype)
    image[:, :, 1:] = x.reshape(image.shape)[:, :, :-1]
    return image.reshape(x.shape)


class PaddingOffByOne(NumpyBackend):
    def conv(self, x, w, window):
        return super().conv(shifted(x, window), w, window)

    def conv_transpose(self, y, w, window):
        return shifted(super().conv_transpose(y, w, window), window)

    def conv_weight_grad(self, x, y, window):
        return super().conv_weight_grad(shifted(x, window), y, window)


class ChannelLeftOut(NumpyBackend):
    def conv(self, x, w, window):
        return super().conv(x * (np.arange(x.shape[1]) > 0), w, window)

    def conv_transpose(self, y, w, window):
        return super().conv_transpose(y * (np.arange(y.shape[1]) > 0), w, window)

    def conv_weight_grad(self, x, y, window):
        return super().conv_weight_grad(x, y * (np.arange(y.shape[1]) > 0), window)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param(spec, name, id=f"{spec.name}-{name}")
        for spec in (*IMAGE_SPECS, preset("dcgan-8"), DCGAN)
        for name in operations_of(spec)
        if name in NAMES
    ],
)
def test_the_gate_finds_mistakes_of_a_convolution(spec, name, dtype):
    case = operation(name, spec)
    expected = answers(case, dtype)
    inputs = case.inputs(expected.seed, dtype, np.empty(0))
    backends = NumpyBackend, KernelTurnedRound, PaddingOffByOne, ChannelLeftOut
    found = {cls.__name__: verify(cls().prepare(case, inputs), case, expected, dtype).passed for cls in backends}
    assert found == {cls.__name__: cls is NumpyBackend for cls in backends}
