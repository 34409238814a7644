"""Contents of image files, and what ganbench makes of them."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings, strategies as st

from ganbench.data import load_images
from ganbench.errors import DataError
from ganbench.gan import PRESETS, GANSpec

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


def load(content: bytes, spec: GANSpec, file: Path) -> np.ndarray:
    file.write_bytes(content)
    return load_images(spec, file)


def fault(content: bytes, spec: GANSpec, file: Path) -> str:
    """Return the message of the DataError that this content must give; it must name the file."""
    with pytest.raises(DataError, match=re.escape(str(file))) as caught:
        load(content, spec, file)
    return str(caught.value)
