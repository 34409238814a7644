"""NumPy's files and files of no known kind as real input: exact where valid, anything else is a DataError."""

import gzip
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from image_files import MNIST, TINY, fault, idx, load, model, npy, npz, quick, ramp

from ganbench.data import load_images
from ganbench.errors import DataError


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path that each example overwrites; its suffix says nothing."""
    return tmp_path_factory.mktemp("data") / "images"


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


@pytest.mark.parametrize("shape", [(), (36,), (0, 36), (0, 6, 6), (2, 0, 0), (2, 35), (2, 49), (2, 4, 8), (2, 3, 6, 6)])
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
    with pytest.raises(DataError, match=re.escape(str(tmp_path)) + r": holds no \.png, \.jpg or \.wav file"):
        load_images(MNIST, tmp_path)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root, and Windows, may read any file")
def test_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    path.write_bytes(npy(ramp(5, 36)))
    path.chmod(0)
    with pytest.raises(DataError, match=r"images\.npy: cannot be read: Permission denied"):
        load_images(TINY, path)
