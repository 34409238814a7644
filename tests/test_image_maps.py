"""The three maps of images: the oracle's are adjoint to each other, and those of each backend are the oracle's."""

import math

import numpy as np
import pytest
from ganbench.backends.array_inplace import ArrayKernels
from ganbench.backends.jax_maps import CellMaps
from ganbench.backends.torch_compiled import TensorMath
from hypothesis import assume, given, strategies as st

from ganbench import registry
from ganbench.layers import Window
from ganbench.verification.maps import NumpyMaps


@st.composite
def windows(draw, most=4):
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel - 1))
    c, o, height, width = (draw(st.integers(1, most if number < 2 else 7)) for number in range(4))
    small = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    assume(min(small) > 0)
    return Window((c, height, width), (o, *small), kernel, stride, padding)


def drawn(window, b=2):
    rng = np.random.default_rng(0)
    shapes = (b, *window.big), (b, *window.small), (window.small[0], window.big[0], window.kernel, window.kernel)
    return [rng.standard_normal(shape) for shape in shapes]


@given(windows())
def test_each_map_is_the_adjoint_of_the_two_others(window):
    """⟨F(x, w), y⟩ = ⟨x, A(y, w)⟩ = ⟨w, W(x, y)⟩; and F is what it is called, one pixel looked at."""
    maps, (x, y, w) = NumpyMaps(), drawn(window)
    f, a, weight = maps.conv(x, w, window), maps.conv_transpose(y, w, window), maps.conv_weight_grad(x, y, window)
    assert (f.shape, a.shape, weight.shape) == (y.shape, x.shape, w.shape)
    assert np.allclose([(x * a).sum(), (w * weight).sum()], (f * y).sum(), rtol=1e-12, atol=1e-12)
    k, s, p = window[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    i, j = (side - 1 for side in window.small[1:])
    seen = padded[:, None, :, s * i : s * i + k, s * j : s * j + k]
    assert np.allclose(f[:, :, i, j], (seen * w).sum(axis=(2, 3, 4)))


def pixels(image):
    return np.ascontiguousarray(np.moveaxis(image, 1, -1)).reshape(-1, image.shape[1])


def agree(window, own, array=np.asarray):
    """Hold the three maps of ``own`` on arrays that ``array`` makes to those of the oracle."""
    maps, (x, y, w) = NumpyMaps(), drawn(window)
    big, small, weight = map(array, (pixels(x), pixels(y), w))
    assert np.allclose(own.conv(big, weight, window), pixels(maps.conv(x, w, window)))
    assert np.allclose(own.conv_transpose(small, weight, window), pixels(maps.conv_transpose(y, w, window)))
    assert np.allclose(own.conv_weight_grad(big, small, window), maps.conv_weight_grad(x, y, window))


@given(windows())
def test_maps_of_numpy_are_those_of_the_oracle(window):
    backend, x = registry.load("numpy")(), drawn(window)[0]
    agree(window, backend)
    flat = (math.prod(window.big),)
    assert np.array_equal(backend.reshape(x.reshape(2, -1), flat, window.big), pixels(x))
    assert np.array_equal(backend.reshape(pixels(x), window.big, flat), x.reshape(2, -1))


def test_zeros_in_place_are_not_shared():
    """Those round an image, and those that a stride leaves in a kernel: here both arrays are (2, 4, 4, 4)."""
    turned, around = Window((4, 5, 5), (2, 2, 2), 1, 4, 0), Window((4, 2, 2), (1, 1, 1), 4, 1, 1)
    kernels = ArrayKernels(np, "float64", 1)
    for window in (turned, around, turned):
        agree(window, kernels)


@given(windows(most=9))
def test_maps_of_torch_are_those_of_the_oracle(window):
    torch = pytest.importorskip("torch")
    agree(window, TensorMath(torch), torch.tensor)


@pytest.mark.parametrize(
    "window",
    [
        Window((2, 6, 4), (3, 3, 2), 4, 2, 1),
        Window((2, 7, 6), (3, 2, 2), 3, 3, 0),  # with rests
        Window((1, 4, 5), (2, 4, 5), 5, 1, 2),
        Window((2, 3, 3), (3, 1, 1), 3, 1, 0),
    ],
)
def test_maps_of_jax_are_those_of_the_oracle(window):
    """JAX compiles each for a second."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64():
        agree(window, CellMaps(jax), jax.numpy.asarray)
