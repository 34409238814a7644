"""Pictures of generated rows: square ones as grey images, all others and sound as curves."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

COLUMNS = 10
MARGIN = 2
IMAGE_SIDE = 56  # images smaller than this are shown enlarged by a whole factor
CURVE_SIZE = (128, 56)
LABEL_WIDTH = 84
PAPER, INK = 255, 0


def grid(rows: np.ndarray, data_range: tuple[float, float], sound: bool) -> bytes:
    """Return a PNG of generated rows, ``COLUMNS`` side by side."""
    return _sheet([rows[start : start + COLUMNS] for start in range(0, len(rows), COLUMNS)], [], data_range, sound)


def strip(rows_over_time: np.ndarray, steps: Sequence[int], data_range: tuple[float, float], sound: bool) -> bytes:
    """Return a PNG with one line for each moment: the rows generated from the same noise after these iterations."""
    return _sheet(list(rows_over_time), [f"{step:,}" for step in steps], data_range, sound)


def _sheet(lines: list[np.ndarray], labels: list[str], data_range: tuple[float, float], sound: bool) -> bytes:
    from PIL import Image, ImageDraw

    cells = [[_cell(row, data_range, sound) for row in line] for line in lines]
    width, height = cells[0][0].size[0] + MARGIN, cells[0][0].size[1] + MARGIN
    left = MARGIN + (LABEL_WIDTH if labels else 0)
    sheet = Image.new("L", (left + width * max(map(len, cells)), MARGIN + height * len(cells)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for y, line in enumerate(cells):
        if labels:
            draw.text((left - 8, MARGIN + y * height + height / 2), labels[y], fill=INK, anchor="rm")
        for x, cell in enumerate(line):
            sheet.paste(cell, (left + x * width, MARGIN + y * height))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _cell(row: np.ndarray, data_range: tuple[float, float], sound: bool) -> "Picture":
    from PIL import Image, ImageDraw

    side = math.isqrt(len(row))
    low, high = data_range
    share = np.clip((np.asarray(row, np.float64) - low) / (high - low), 0, 1)
    if not sound and side**2 == len(row):
        image = Image.fromarray(np.round(255 * share.reshape(side, side)).astype(np.uint8))
        larger = side * max(1, IMAGE_SIDE // side)
        return image.resize((larger, larger), Image.Resampling.NEAREST)
    width, height = CURVE_SIZE
    cell = Image.new("L", CURVE_SIZE, 240)
    xs = np.linspace(0, width - 1, len(share))
    ys = (height - 1) * (1 - share)
    ImageDraw.Draw(cell).line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=INK)
    return cell
