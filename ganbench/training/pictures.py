"""What a trained generator makes of noise, and its pictures: images of what is one, curves of all others and sound."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import registry
from ..gan import BATCH_NORM_EPS, GANSpec
from ..layers import by_layer
from ..measure.models import changed

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

COLUMNS = 10
MARGIN = 2
IMAGE_SIDE = 56  # images smaller than this are shown enlarged by a whole factor
CURVE_SIZE = (128, 56)
LABEL_WIDTH = 84
PAPER, INK = "white", "black"


def generate(spec: GANSpec, params: Sequence[np.ndarray], running: Sequence[np.ndarray], z: np.ndarray) -> np.ndarray:
    """Return (n, img_dim) for noise z (n, z_dim).

    Batch norm takes the ``running`` statistics that training kept, not those of z: what one row becomes does not
    depend on the others, and a single one can be made. With these it is linear, so weights and biases take it up.
    """
    layers, statistics, folded = spec.generator_layers, iter(running), list[np.ndarray]()
    for layer, own in zip(layers, by_layer(layers, params), strict=True):
        folded += own
        if layer.batch_norm:
            w, gamma, beta, mean, var = *own, next(statistics), next(statistics)
            scale = gamma / np.sqrt(var + BATCH_NORM_EPS)
            w = np.moveaxis(scale * np.moveaxis(w, layer.out_axis, -1), -1, layer.out_axis)
            folded[-3:] = [w, beta - scale * mean]
    plain = changed(spec, "batch_norm", "off")
    return np.asarray(registry.load("numpy")().generator_forward(plain, folded, z))


def grid(rows: np.ndarray, spec: GANSpec, sound: bool) -> bytes:
    """Return a PNG of generated rows, ``COLUMNS`` side by side."""
    return _sheet([rows[start : start + COLUMNS] for start in range(0, len(rows), COLUMNS)], [], spec, sound)


def strip(rows_over_time: np.ndarray, steps: Sequence[int], spec: GANSpec, sound: bool) -> bytes:
    """Return a PNG with one line for each moment: the rows generated from the same noise after these iterations."""
    return _sheet(list(rows_over_time), [f"{step:,}" for step in steps], spec, sound)


def _sheet(lines: list[np.ndarray], labels: list[str], spec: GANSpec, sound: bool) -> bytes:
    from PIL import Image, ImageDraw

    image = () if sound else _image(spec.image_shape)
    cells = [[_cell(row, spec.data_range, image) for row in line] for line in lines]
    width, height = cells[0][0].size[0] + MARGIN, cells[0][0].size[1] + MARGIN
    left = MARGIN + (LABEL_WIDTH if labels else 0)
    size = left + width * max(map(len, cells)), MARGIN + height * len(cells)
    sheet = Image.new(cells[0][0].mode, size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for y, line in enumerate(cells):
        if labels:
            draw.text((left - 8, MARGIN + y * height + height / 2), labels[y], fill=INK, anchor="rm")
        for x, cell in enumerate(line):
            sheet.paste(cell, (left + x * width, MARGIN + y * height))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the C, H, W that rows are shown as: grey or in colour, or of widths alone a grey square; else ()."""
    side = math.isqrt(shape[0])
    if len(shape) == 1:
        return (1, side, side) if side**2 == shape[0] else ()
    return shape if shape[0] in (1, 3) else ()


def _cell(row: np.ndarray, data_range: tuple[float, float], image: tuple[int, ...]) -> "Picture":
    from PIL import Image, ImageDraw

    low, high = data_range
    share = np.clip((np.asarray(row, np.float64) - low) / (high - low), 0, 1)
    if image:
        c, h, w = image
        pixels = np.moveaxis(np.round(255 * share).astype(np.uint8).reshape(image), 0, -1)
        larger = max(1, IMAGE_SIDE // max(h, w))
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if c == 1 else pixels))
        return picture.resize((w * larger, h * larger), Image.Resampling.NEAREST)
    width, height = CURVE_SIZE
    cell = Image.new("L", CURVE_SIZE, 240)
    xs = np.linspace(0, width - 1, len(share))
    ys = (height - 1) * (1 - share)
    ImageDraw.Draw(cell).line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=INK)
    return cell
