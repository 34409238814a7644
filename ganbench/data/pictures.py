"""A folder of PNG or JPEG files as real data, read by Pillow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, require

SUFFIXES = (".png", ".jpg", ".jpeg")
# What a file may hold, as Pillow names it, and what it is read as: bits and palettes are short for grey and colour.
READ_AS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}


def read_pictures(paths: Sequence[Path]) -> np.ndarray:
    """Return (n, H, W) grey or (n, H, W, 3) colour images as uint8.

    Raises ``DataError`` without the folder's name for a file that cannot be read, or that is unlike the first.
    """
    require("train", "a folder of PNG or JPEG files", "PIL")
    first, *others = paths
    images = np.empty((len(paths), *(start := _read(first)).shape), np.uint8)
    images[0] = start
    for number, path in enumerate(others, 1):
        image = _read(path)
        if image.shape != start.shape:
            raise DataError(
                f"{path.name} is {_about(image)}, but {first.name} is {_about(start)}: all must have one size, and all "
                "be grey or all in colour"
            )
        images[number] = image
    return images


def _read(path: Path) -> np.ndarray:
    """Return the image in a file."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.mode not in READ_AS or "transparency" in image.info:
                kind = f"{image.mode}, transparent" if "transparency" in image.info else image.mode
                raise DataError(f"{path.name} holds {kind}: valid are grey (L) and colour (RGB), 8 bits each")
            return np.asarray(image.convert(READ_AS[image.mode]))
    except DataError:
        raise
    except Exception as error:  # damage surfaces as anything: OSError, SyntaxError, ValueError, a warning of its size
        raise DataError(f"{path.name} cannot be read as a PNG or JPEG file: {error}") from error


def _about(image: np.ndarray) -> str:
    return f"{image.shape[0]} × {image.shape[1]} {'in colour' if image.ndim == 3 else 'grey'}"
