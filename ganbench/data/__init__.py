"""Real input for a GAN: the packaged handwritten digits, or the user's own file or folder.

A file is recognised by its content, not by its name. Data becomes rows of ``img_dim`` float64 values in the range that
the generator can produce; where that is impossible a ``DataError`` says why.
"""

import functools
import gzip
import hashlib
import io
import math
import os
import stat
import zlib
from importlib import resources
from pathlib import Path

import numpy as np

from ..errors import DataError, plural
from ..gan import STAGED_BATCHES, GANSpec
from .folders import files_below, left_below
from .pictures import SUFFIXES as PICTURES, read_pictures
from .sound import SUFFIXES as SOUND, load_recordings

IDX_IMAGES = 0x00000803  # unsigned bytes in 3 dimensions
IDX_LABELS = 0x00000801  # unsigned bytes in 1 dimension
DIM = 16  # uint8 images with no brighter pixel are of another scale: binary ones, or digits of 0 to 16
IDX_HEADER = 16  # the magic number and three sizes, four bytes each, big-endian
READABLE = (
    "an MNIST image file (IDX, such as train-images-idx3-ubyte.gz), a .npy or .npz file, or a folder of PNG, JPEG or "
    "WAV files"
)


def load_images(spec: GANSpec, path: Path | None) -> np.ndarray:
    """Return real data as (n, img_dim) float64 in ``spec.data_range``, in the order it is stored.

    ``path`` is an IDX, .npy or .npz file, or a folder of PNG, JPEG or WAV files; None means the packaged digits.
    Images are grey (n, h, w), or (n, C, h, w) or (n, h, w, C); square ones of another size are resized.

    Raises ``DataError`` naming file and fault.
    """
    if path is None:
        if not _square(spec):
            size = f"width {spec.img_dim}, which is not a square"
            if len(spec.image_shape) > 1:
                size = f"{' × '.join(map(str, spec.image_shape))}, which is no grey square"
            raise DataError(f"the digits cannot be resized to {size}: pass --data with rows of {spec.img_dim} values")
        return _rows(_onto(_digits()[:, None], spec.data_range), spec)
    if is_sound(path):
        return load_recordings(spec, path).frames
    try:
        stored = read_pictures(files_below(path, PICTURES)) if path.is_dir() else _decode(_read_bytes(path))
        return _rows(_to_range(_channels_first(stored, spec), spec.data_range), spec)
    except DataError as error:
        raise DataError(f"data {path}: {error}") from error


def is_sound(path: Path | None) -> bool:
    """Whether data is a folder of recordings, or of nothing that can be read; raises ``DataError`` for a mixed one."""
    if path is None or not path.is_dir():
        return False
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"data {path}: the folder may not be opened")
    pictures, recordings = (files_below(path, suffixes) for suffixes in (PICTURES, SOUND))
    if pictures and recordings:
        raise DataError(
            f"data {path}: holds {len(pictures)} pictures and {len(recordings)} WAV files: pass a folder of one kind"
        )
    return not pictures


def unread(path: Path | None) -> str:
    """Return in words what is in a folder of data and is not read; '' for nothing, and for a file."""
    if path is None or not path.is_dir():
        return ""
    return left_below(path, SOUND if is_sound(path) else PICTURES)


def data_digest(path: Path | None) -> str:
    """Return a hash of all numbers that data holds (of a folder, of its files), by which it is recognised.

    Neither its name nor how it is packed counts. Raises ``DataError`` as ``load_images`` does.
    """
    hasher = hashlib.sha256()
    if path is not None and path.is_dir():
        for file in files_below(path, SOUND if is_sound(path) else PICTURES):
            hasher.update(hashlib.sha256(file.read_bytes()).digest())
        return hasher.hexdigest()
    images = _digits() if path is None else _decode(_read_bytes(path))
    hasher.update(f"{images.dtype.str} {images.shape}".encode())
    hasher.update(np.ascontiguousarray(images).data)
    return hasher.hexdigest()


def staged_images(images: np.ndarray, spec: GANSpec, seed: int) -> np.ndarray:
    """Return (STAGED_BATCHES · B, img_dim) rows of ``images``, shuffled; where they run out they repeat."""
    order = np.random.default_rng(seed).permutation(len(images))
    return images[np.resize(order, STAGED_BATCHES * spec.batch)]


@functools.cache
def _digits() -> np.ndarray:
    """Return the packaged digits as (1797, 8, 8) in [0, 1]."""
    packed = resources.files(__package__).joinpath("digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8) / 16  # the last column is the class


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked where it is gzip."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # it might have no end, and is read more than once
            raise DataError("is a pipe or a device: write what it holds into a file, and pass that")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise DataError(f"does not fit into memory: it has {path.stat().st_size:,} bytes; pass part of it") from error
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:  # wrong checksum, cut short, damaged inside
        raise DataError(f"is not a whole gzip file: {error}; fetch it again") from error


def _decode(content: bytes) -> np.ndarray:
    """Return the array in a file, with the dtype and shape it is stored with."""
    if content.startswith(b"\0\0"):
        return _decode_idx(content)
    if content.startswith((b"\x93NUMPY", b"PK")):
        return _decode_numpy(content)
    found = f"begins with {content[:4]!r}" if content else "is empty"
    raise DataError(f"{found}, which is not a known format: pass {READABLE}")


def _decode_idx(content: bytes) -> np.ndarray:
    magic = int.from_bytes(content[:4])
    if magic == IDX_LABELS:
        raise DataError("holds labels: pass the file of images beside it, such as train-images-idx3-ubyte.gz")
    if len(content) < IDX_HEADER:
        raise DataError(f"is cut short: {len(content)} bytes, but an IDX header alone takes {IDX_HEADER}")
    if magic != IDX_IMAGES:
        raise DataError(f"has IDX magic number 0x{magic:08x}: images of bytes have 0x{IDX_IMAGES:08x}")
    shape = [int.from_bytes(content[start : start + 4]) for start in (4, 8, 12)]
    if 0 in shape:
        raise DataError(f"holds no image: its header says {' × '.join(map(str, shape))}")
    expected = IDX_HEADER + math.prod(shape)  # Python integers: sizes that a header invents cannot overflow
    if len(content) != expected:
        fault = "is cut short" if len(content) < expected else "has trailing bytes"
        raise DataError(
            f"{fault}: {len(content)} bytes, but a header of {' × '.join(map(str, shape))} means {expected}"
        )
    return np.frombuffer(content, np.uint8, offset=IDX_HEADER).reshape(shape)


def _decode_numpy(content: bytes) -> np.ndarray:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded[_choose(loaded.files)])
    except DataError:
        raise
    except Exception as error:  # damage surfaces as anything: ValueError, BadZipFile, TokenError, MemoryError
        raise DataError(
            f"cannot be read as a NumPy file without pickles: {str(error) or type(error).__name__}"
        ) from error


def _choose(names: list[str]) -> str:
    """Return which array of an .npz file holds the images."""
    packed = [name for name in names if "idx" in name]
    if packed:
        raise DataError(f"is a zip that holds {packed[0]}, not arrays: unpack it, and pass the file of images inside")
    wanted = [name for name in ("images", "x_train") if name in names] or names
    if len(wanted) == 1:
        return wanted[0]
    # A zip of single pictures may hold thousands of names.
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise DataError(
        f"holds {len(names)} arrays ({listed}): it must hold exactly one, or exactly one called images or x_train"
    )


def _channels_first(images: np.ndarray, spec: GANSpec) -> np.ndarray:
    """Return images as (n, C, h, w), or as rows where they are such; raises where they cannot be those of a model."""
    shape, dim, side, said = images.shape, spec.img_dim, _square(spec), len(spec.image_shape) == 3
    c, *size = spec.image_shape if said else (1, side, side)
    if 0 not in shape and len(shape) > 1:
        # A model of widths alone says how many values an image has, not which.
        if math.prod(shape[1:]) == dim and len(shape) <= 3 - said:
            return images.reshape(-1, dim)
        planes = images[:, None] if len(shape) == 3 else images
        orders = (planes, np.moveaxis(planes, -1, 1)) if planes.ndim == 4 else ()
        for resized in (False, True):
            for one in orders:
                h, w = one.shape[2:]
                if one.shape[1] == c and (h == w and size[0] == size[1] > 0 if resized else [h, w] == size):
                    return one
    valid = [f"(n, {dim})"] + [f"(n, h, w) with h·w = {dim}"] * (not said)
    if size[0]:
        h, w = size
        valid += [f"(n, {c}, {h}, {w}), (n, {h}, {w}, {c})"] + [f"(n, {h}, {w})"] * (c == 1)
        valid += [f"squares of another size with {plural(c, 'channel')}, which are resized"] * (h == w)
    elif math.prod(shape[1:]) == dim:
        valid += ["more axes where the model says [C, H, W] instead of a width"]
    raise DataError(f"shape {shape} does not fit this model: valid are {'; '.join(valid)}; n is at least 1")


def _to_range(images: np.ndarray, data_range: tuple[float, float]) -> np.ndarray:
    """Return images as float64: uint8 is mapped onto ``data_range``, floats must lie in it already."""
    if images.dtype == np.uint8:
        if images.max() <= DIM:
            raise DataError(
                f"values run from {images.min()} to {images.max()}, but in uint8 255 is white: every image would be "
                "nearly black; multiply them up to 255, or pass floating point numbers in "
                f"[{data_range[0]:g}, {data_range[1]:g}]"
            )
        return _onto(images / 255, data_range)
    if images.dtype.kind != "f":
        raise DataError(
            f"values are {images.dtype}: valid are uint8 (0 to 255, scaled here) and floating point numbers"
        )
    if faulty := images.size - np.count_nonzero(np.isfinite(images)):
        raise DataError(f"{faulty} of {images.size} values are not finite: NaN and infinity are not valid")
    low, high = data_range
    if images.min() < low or images.max() > high:
        raise DataError(
            f"values run from {images.min()} to {images.max()}: floating point numbers must lie in "
            f"[{low:g}, {high:g}], which this model's generator produces (uint8 would be scaled here)"
        )
    return images.astype(np.float64)


def _onto(images: np.ndarray, data_range: tuple[float, float]) -> np.ndarray:
    """Return a copy of images in [0, 1] mapped onto ``data_range``."""
    low, high = data_range
    return low + (high - low) * images


def _rows(images: np.ndarray, spec: GANSpec) -> np.ndarray:
    """Return one row for each image, resized where that has another size."""
    if math.prod(images.shape[1:]) != spec.img_dim:
        images = _resize(images, spec.image_shape[-1] if len(spec.image_shape) == 3 else _square(spec))
    return np.ascontiguousarray(images.reshape(len(images), spec.img_dim))


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    """Return (n, C, h, h) images as (n, C, side, side): bilinear, half-pixel centres, edges clamped."""
    h = images.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * h / side - 0.5, 0, h - 1)
    weights = np.maximum(0, 1 - abs(centres[:, None] - np.arange(h)))
    # Rounding can put a weighted mean one ulp outside its terms; the range must not widen.
    resized: np.ndarray = np.clip(weights @ images @ weights.T, images.min(), images.max())
    return resized


def _square(spec: GANSpec) -> int:
    """Return the side of a model's images if they are grey squares, or if it does not say what they are; else 0."""
    side = math.isqrt(spec.img_dim)
    return side if side**2 == spec.img_dim and spec.image_shape in ((spec.img_dim,), (1, side, side)) else 0
