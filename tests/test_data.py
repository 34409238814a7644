"""Real input, through its two public doors: what is valid arrives exact, anything else is a DataError."""

import gzip
import importlib.resources
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ganbench.data import load_images, staged_images
from ganbench.errors import DataError
from ganbench.gan import PRESETS, STAGED_BATCHES, GANSpec

MNIST, TINY, SPEECH = (PRESETS[name] for name in ("mnist-mlp", "tiny", "speech"))
SIDES = st.integers(1, 12)
quick = settings(deadline=None, max_examples=60)


def model(img_dim: int, last: Any = "sigmoid", batch: int = 4) -> GANSpec:
    """Return a small model of images of that width."""
    return GANSpec(generator=(2, img_dim), discriminator=(img_dim, 1), generator_activations=(last,), batch=batch)


def idx(images: np.ndarray, magic: int = 0x803) -> bytes:
    """Return an IDX file, written after its specification."""
    return b"".join(size.to_bytes(4, "big") for size in (magic, *images.shape)) + images.tobytes()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def ramp(*shape: int) -> np.ndarray:
    """Return bytes that all differ from their neighbours."""
    return (np.arange(np.prod(shape)) * 37 % 256).astype(np.uint8).reshape(shape)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that each example overwrites; its suffix says nothing."""
    return tmp_path_factory.mktemp("data") / "images"


def load(content: bytes, spec: GANSpec, file: Path) -> np.ndarray:
    file.write_bytes(content)
    return load_images(spec, file)


def fault(content: bytes, spec: GANSpec, file: Path) -> str:
    """Return the message of the DataError that this content must give; it must name the file."""
    with pytest.raises(DataError, match=re.escape(str(file))) as caught:
        load(content, spec, file)
    return str(caught.value)


# The packaged digits


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    packed = importlib.resources.files("ganbench.data").joinpath("digits.csv.gz").read_bytes()
    return np.array([line.split(",") for line in gzip.decompress(packed).decode().split()], float)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_digits_in_its_range(name: str) -> None:
    spec = PRESETS[name]
    images = load_images(spec, None)
    assert images.shape == (1797, spec.img_dim)
    assert images.dtype == np.float64
    assert (images.min(), images.max()) == spec.data_range


def test_digits_at_their_own_size_are_the_table(table: np.ndarray) -> None:
    np.testing.assert_array_equal(load_images(model(64), None), table[:, :64] / 16)
    np.testing.assert_array_equal(load_images(model(64, "tanh"), None), table[:, :64] / 8 - 1)


@pytest.mark.parametrize("spec", [TINY, MNIST], ids=lambda spec: spec.name)
def test_resized_digits_are_still_told_apart(spec: GANSpec, table: np.ndarray) -> None:
    images, classes = load_images(spec, None), table[:, 64]
    means = np.array([images[classes == digit].mean(axis=0) for digit in range(10)])
    nearest = np.linalg.norm(images[:, None] - means, axis=2).argmin(axis=1)
    assert (nearest == classes).mean() > 0.8  # chance, and rows out of order, give 0.1


def test_digits_are_not_shared_between_callers() -> None:
    before = load_images(model(64), None)
    load_images(model(64), None)[:] = 7
    np.testing.assert_array_equal(load_images(model(64), None), before)


def test_digits_do_not_fit_a_width_that_is_no_square() -> None:
    with pytest.raises(DataError, match=r"width 50, which is not a square: pass --data with rows of 50"):
        load_images(model(50), None)


# Resizing


@quick
@given(value=st.floats(0, 1), old=SIDES, new=SIDES)
def test_constant_image_stays_constant(value: float, old: int, new: int, file: Path) -> None:
    # The black and the white image keep the clip to the range of all images from hiding a fault.
    images = np.array([np.full((old, old), level) for level in (value, 0.0, 1.0)])
    resized = load(npy(images), model(new * new), file)
    np.testing.assert_allclose(resized, images[:, :1, 0] * np.ones(new * new), rtol=0, atol=1e-15)


@quick
@given(data=st.data(), old=SIDES, new=SIDES)
def test_resizing_is_bilinear(data: st.DataObject, old: int, new: int, file: Path) -> None:
    images = data.draw(hnp.arrays(np.float64, (2, old, old), elements=st.floats(0, 1)))
    resized = load(npy(images), model(new * new), file).reshape(2, new, new)
    assert images.min() <= resized.min()
    assert resized.max() <= images.max()
    # np.interp is an independent definition: linear between pixel centres, constant beyond the outer ones.
    centres, grid = (np.arange(new) + 0.5) / new, (np.arange(old) + 0.5) / old
    rows = np.array([[np.interp(centres, grid, line) for line in image] for image in images])
    expected = np.array([[np.interp(centres, grid, line) for line in image.T] for image in rows])
    np.testing.assert_allclose(resized, expected.transpose(0, 2, 1), atol=1e-12)


def test_rounding_does_not_widen_the_range(file: Path) -> None:
    value = 0.7686128062695755  # the weighted mean of two such pixels rounds up in this resize
    resized = load(npy(np.full((1, 17, 17), value)), model(13 * 13), file)
    assert (resized.min(), resized.max()) == (value, value)


@quick
@given(data=st.data(), side=SIDES)
def test_same_size_is_the_identity(data: st.DataObject, side: int, file: Path) -> None:
    images = data.draw(hnp.arrays(np.float64, (3, side, side), elements=st.floats(0, 1)))
    np.testing.assert_array_equal(load(npy(images), model(side * side), file), images.reshape(3, -1))


def test_doubling_two_pixels_by_hand(file: Path) -> None:
    images = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    expected = [0, 0.25, 0.75, 1] * 4  # half-pixel centres: the new ones lie at -0.25, 0.25, 0.75, 1.25
    np.testing.assert_array_equal(load(npy(images), model(16), file), [expected])


# MNIST files


@quick
@given(
    images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), SIDES, SIDES)),
    packed=st.booleans(),
    tanh=st.booleans(),
)
def test_idx_round_trip(images: np.ndarray, packed: bool, tanh: bool, file: Path) -> None:
    content = gzip.compress(idx(images), 1) if packed else idx(images)
    n, h, w = images.shape
    loaded = load(content, model(h * w, "tanh" if tanh else "sigmoid"), file)
    assert loaded.dtype == np.float64
    expected = images.reshape(n, h * w) / 255
    np.testing.assert_allclose(loaded, 2 * expected - 1 if tanh else expected, rtol=0, atol=1e-15)


def test_idx_is_resized_between_squares(file: Path) -> None:
    images = ramp(3, 28, 28)
    expected = load(npy(images / 255), TINY, file)
    np.testing.assert_allclose(load(idx(images), TINY, file), expected, atol=1e-15)


@pytest.mark.parametrize(("shape", "img_dim"), [((2, 4, 9), 49), ((2, 6, 6), 50)])
def test_idx_of_another_size_that_is_no_square(shape: tuple[int, ...], img_dim: int, file: Path) -> None:
    message = fault(idx(ramp(*shape)), model(img_dim), file)
    assert str(shape) in message
    assert f"(n, {img_dim})" in message


@pytest.mark.parametrize("write", [idx, lambda images: gzip.compress(idx(images)), npy, lambda a: npz(a=a)])
def test_truncation_at_any_byte(write: Any, file: Path) -> None:
    content = write(ramp(2, 6, 6))
    assert load(content, TINY, file).shape == (2, 36)
    for length in range(len(content)):
        fault(content[:length], TINY, file)


def test_truncation_says_how_many_bytes(file: Path) -> None:
    content = idx(ramp(2, 6, 6))
    assert "cut short: 87 bytes, but a header of 2 × 6 × 6 means 88" in fault(content[:-1], TINY, file)
    assert "cut short: 10 bytes, but an IDX header alone takes 16" in fault(content[:10], TINY, file)


@quick
@given(extra=st.binary(min_size=1, max_size=9))
def test_trailing_bytes(extra: bytes, file: Path) -> None:
    message = fault(idx(ramp(2, 6, 6)) + extra, TINY, file)
    assert f"trailing bytes: {88 + len(extra)} bytes" in message


@quick
@given(sizes=st.tuples(*[st.integers(0, 2**32 - 1)] * 3))
@example(sizes=(2**32 - 1,) * 3)
@example(sizes=(0, 2**32 - 1, 2**32 - 1))
@example(sizes=(2**31, 2, 1))
@example(sizes=(2**24, 2**20, 2**20))  # 2**64 bytes: 0 where the product overflows
def test_sizes_that_the_file_does_not_hold(sizes: tuple[int, int, int], file: Path) -> None:
    header = b"".join(size.to_bytes(4, "big") for size in (0x803, *sizes))
    message = fault(header, MNIST, file)
    assert " × ".join(map(str, sizes)) in message


def test_labels_instead_of_images(file: Path) -> None:
    for count in (1, 100):
        content = idx(np.zeros(count, np.uint8), magic=0x801)
        for stored in (content, gzip.compress(content)):
            message = fault(stored, MNIST, file)
            assert "labels" in message
            assert "train-images-idx3-ubyte" in message


def test_idx_of_another_kind(file: Path) -> None:
    assert "0x00000d03: images of bytes have 0x00000803" in fault(idx(ramp(2, 6, 6), 0xD03), TINY, file)


def test_damaged_gzip(file: Path) -> None:
    packed = bytearray(gzip.compress(idx(ramp(2, 6, 6))))
    packed[-8] ^= 1  # the checksum
    assert "not a whole gzip file" in fault(bytes(packed), TINY, file)
    packed[12] ^= 0xFF  # inside the deflate stream
    assert "not a whole gzip file" in fault(bytes(packed), TINY, file)


# NumPy files


def test_numpy_bytes_are_scaled(file: Path) -> None:
    images = ramp(5, 36)
    for content in (npy(images), npz(anything=images), gzip.compress(npy(images))):
        np.testing.assert_array_equal(load(content, TINY, file), images / 255)
    np.testing.assert_allclose(load(npy(images), model(36, "tanh"), file), images / 127.5 - 1, atol=1e-15)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8"])
def test_numpy_floats_are_taken_as_they_are(dtype: str, file: Path) -> None:
    images = np.linspace(-1, 1, 5 * 36).reshape(5, 6, 6).astype(dtype)
    loaded = load(npy(images), model(36, "tanh"), file)
    assert loaded.dtype == np.float64
    np.testing.assert_array_equal(loaded, images.astype(float).reshape(5, 36))


@pytest.mark.parametrize("shape", [(5, 36), (5, 6, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_rows_are_contiguous_however_they_are_stored(shape: tuple[int, ...], dtype: type, file: Path) -> None:
    images = ramp(*shape) if dtype is np.uint8 else ramp(*shape) / 255
    loaded = load(npy(np.asfortranarray(images)), TINY, file)
    assert loaded.flags.c_contiguous  # a backend would be timed on another memory layout
    np.testing.assert_array_equal(loaded, load(npy(images), TINY, file))


@pytest.mark.parametrize("name", ["images", "x_train"])
def test_npz_takes_the_array_that_is_named_so(name: str, file: Path) -> None:
    images = ramp(5, 36)
    others = {"x_test": ramp(3, 36)[:, ::-1], "y_train": np.arange(5)}
    np.testing.assert_array_equal(load(npz(**others, **{name: images}), TINY, file), images / 255)


@pytest.mark.parametrize("names", [("a", "b"), ("images", "x_train"), ()])
def test_npz_without_one_obvious_array(names: tuple[str, ...], file: Path) -> None:
    message = fault(npz(**{name: ramp(5, 36) for name in names}), TINY, file)
    assert f"holds {len(names)} arrays ({', '.join(names)})" in message


def test_zip_of_pictures_is_not_listed_in_full(file: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(500):
            archive.writestr(f"{number}.png", b"\x89PNG")
    message = fault(packed.getvalue(), TINY, file)
    assert "500 arrays (0.png" in message
    assert len(message) < 500 + len(str(file))


@pytest.mark.parametrize(
    ("low", "high", "last", "valid"),
    [(0.0, 255.0, "sigmoid", "[0, 1]"), (-0.5, 1.0, "sigmoid", "[0, 1]"), (-1.5, 1.0, "tanh", "[-1, 1]")],
)
def test_floats_out_of_range(low: float, high: float, last: str, valid: str, file: Path) -> None:
    message = fault(npy(np.linspace(low, high, 72).reshape(2, 36)), model(36, last), file)
    assert f"from {low} to {high}" in message
    assert valid in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_not_finite(value: float, file: Path) -> None:
    images = np.zeros((2, 36))
    images[1, 3:5] = value
    assert "2 of 72 values are not finite" in fault(npy(images), TINY, file)


@pytest.mark.parametrize("dtype", ["i8", "u2", "?", "c16", "U3", "S3", "M8[s]", "f8,f8"])
def test_dtypes_that_are_no_images(dtype: str, file: Path) -> None:
    message = fault(npy(np.zeros((2, 36), dtype)), TINY, file)
    assert f"values are {np.dtype(dtype)}: valid are uint8" in message


def test_pickles_are_refused(file: Path) -> None:
    objects = np.full((2, 36), None)
    for content in (npy(objects), npz(images=objects)):
        assert "pickle" in fault(content, TINY, file)
    assert ".npz" in fault(pickle.dumps(objects), TINY, file)


@pytest.mark.parametrize("shape", [(), (36,), (0, 36), (0, 6, 6), (2, 0, 0), (2, 35), (2, 49), (2, 4, 8), (2, 1, 6, 6)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...], file: Path) -> None:
    message = fault(npy(np.zeros(shape)), TINY, file)
    assert f"shape {shape} does not fit" in message
    assert "(n, 36)" in message


# Any other file


@quick
@given(
    content=st.builds(
        bytes.__add__,
        st.sampled_from(
            [b"", b"\0\0", b"\0\0\x08\x03", b"\x1f\x8b", b"\x1f\x8b\x08\0"]
            + [b"PK", b"PK\x03\x04", b"PK\x05\x06"]
            + [b"\x93NUMPY" + version for version in (b"", b"\x01\0", b"\x01\0\x0a\0", b"\x03\0")]
        ),
        st.binary(max_size=200),
    )
)
def test_random_bytes(content: bytes, file: Path) -> None:
    fault(content, MNIST, file)


@pytest.mark.parametrize("write", [idx, lambda images: gzip.compress(idx(images)), npy, lambda a: npz(a=a)])
@settings(quick, max_examples=150)
@given(data=st.data())
def test_damaged_bytes_never_give_a_malformed_result(write: Any, data: st.DataObject, file: Path) -> None:
    content = bytearray(write(ramp(2, 6, 6)))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        images = load(bytes(content), TINY, file)
    except DataError:
        return
    assert images.shape[1:] == (36,)
    assert len(images) > 0
    assert images.dtype == np.float64
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("shape", ["(10**12, 36)", f"({10**12}, 36)", f"({10**30}, 36)", "(-5, 36)", "[" * 5000])
def test_numpy_headers_that_lie(shape: str, file: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + "}"
    content = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
    assert "cannot be read as a NumPy file" in fault(content, TINY, file)


def test_unknown_format_names_the_accepted_ones(file: Path) -> None:
    message = fault(b"\x89PNG\r\n", MNIST, file)
    assert r"begins with b'\x89PNG'" in message
    assert all(known in message for known in ("IDX", ".npy", ".npz"))
    assert "is empty" in fault(b"", MNIST, file)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npy: cannot be read: No such file"):
        load_images(MNIST, tmp_path / "absent.npy")
    with pytest.raises(DataError, match=re.escape(str(tmp_path)) + ": sound lies in"):
        load_images(MNIST, tmp_path)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root, and Windows, may read any file")
def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(npy(ramp(5, 36)))
    path.chmod(0)
    with pytest.raises(DataError, match=r"images\.npy: cannot be read: Permission denied"):
        load_images(TINY, path)


# Staging


def test_staged_rows_fill_every_batch() -> None:
    images = load_images(TINY, None)
    staged = staged_images(images, TINY, 0)
    assert staged.shape == (STAGED_BATCHES * TINY.batch, 36)
    known = {row.tobytes() for row in images}
    assert {row.tobytes() for row in staged} <= known


@quick
@given(n=st.integers(1, 100), batch=st.integers(1, 10), seed=st.integers(0, 2**32 - 1))
def test_rows_are_staged_as_evenly_as_possible(n: int, batch: int, seed: int) -> None:
    images = np.arange(n, dtype=float)[:, None] + [0, 1000]
    staged = staged_images(images, model(2, batch=batch), seed)
    assert staged.shape == (STAGED_BATCHES * batch, 2)
    np.testing.assert_array_equal(staged[:, 1], staged[:, 0] + 1000)  # rows stay whole
    times = np.bincount(staged[:, 0].astype(int), minlength=n)
    assert times.max() - times.min() <= 1


def test_staging_is_seeded_and_shuffled() -> None:
    images = np.arange(200.0)[:, None]
    one, same, other = (staged_images(images, model(1), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, images[: len(one)])
    assert not np.shares_memory(one, images)
