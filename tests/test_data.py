"""Real input, through its two public doors: what is valid arrives exact, anything else is a DataError."""

import gzip
import importlib.resources
import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from hypothesis.extra import numpy as hnp
from image_files import MNIST, SIDES, TINY, fault, idx, load, model, npy, npz, quick, ramp

from ganbench.data import load_images, staged_images
from ganbench.errors import DataError
from ganbench.gan import PRESETS, STAGED_BATCHES, GANSpec


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that each example overwrites; its suffix says nothing."""
    return tmp_path_factory.mktemp("data") / "images"


# The packaged digits


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    packed = importlib.resources.files("ganbench.data").joinpath("digits.csv.gz").read_bytes()
    return np.array([line.split(",") for line in gzip.decompress(packed).decode().split()], float)


@pytest.mark.parametrize("name", sorted({*PRESETS} - {"dcgan-64"}))  # its images have colours
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
    images[0, 0, 0] = 255  # images that are dark as a whole are asked about
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


@pytest.mark.parametrize("largest", [1, 16])
def test_images_of_another_scale_are_asked_about(largest: int, file: Path) -> None:
    images = np.arange(2 * 16, dtype=np.uint8).reshape(2, 4, 4) % (largest + 1)
    with pytest.raises(DataError, match=f"values run from 0 to {largest}, but in uint8 255 is white"):
        load(idx(images), model(16, "sigmoid"), file)


def test_a_zip_of_images_says_what_it_is(file: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("train-images-idx3-ubyte.gz", b"")
    with pytest.raises(DataError, match=r"is a zip that holds train-images-idx3-ubyte\.gz, not arrays: unpack it"):
        load(packed.getvalue(), model(16, "sigmoid"), file)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(DataError, match=f"data {path}: is a pipe or a device"):
            load_images(PRESETS["tiny"], path)


@pytest.mark.skipif(sys.platform != "linux", reason="files with holes")
def test_a_file_larger_than_the_memory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.truncate(2**43)
    with pytest.raises(DataError, match="does not fit into memory: it has 8,796,093,022,208 bytes"):
        load_images(PRESETS["tiny"], path)
