"""Intervals drawn with letters, one line for each row of a table, all on one logarithmic axis."""

import math

import numpy as np
import pandas as pd

from .table import text

LEAST, MOST = 16, 40  # letters of an axis
NARROWEST = math.log(1.05)  # of an axis: noise of a hundredth must not look like a difference


def drawing(table: pd.DataFrame, letters: int) -> pd.Series:
    """Return the interval of each row's ratio as ``|`` (no difference), ``-`` (interval) and ``o`` (ratio).

    ``table`` is that of ``run_table``. The name of the series says where the axis ends. It is empty where so few
    ``letters`` are left, or no row has an interval.
    """
    known = np.log(table[["ratio_low", "ratio", "ratio_high"]].to_numpy(dtype=float))
    if letters < LEAST or np.isnan(known[:, 0]).all():
        return pd.Series(dtype=object)
    letters = min(letters, MOST)
    low, high = min(0.0, float(np.nanmin(known))), max(0.0, float(np.nanmax(known)))
    wider = max(0.0, NARROWEST - (high - low)) / 2
    low, high = low - wider, high + wider

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (letters - 1))

    lines = []
    for ends in known.tolist():
        line = [" "] * letters
        line[place(0.0)] = "|"
        if not math.isnan(ends[0]):
            first, middle, last = map(place, ends)
            line[first : last + 1] = "-" * (last + 1 - first)
            line[middle] = "o"
        lines.append("".join(line))
    left, right = (text(math.exp(end), "ratio") for end in (low, high))
    return pd.Series(lines, table.index, name=f"{left}{right:>{letters - len(left)}}")
