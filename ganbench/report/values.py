"""One cell of a pivot as text: readable units, or the words that stand where a number is missing."""

import math
import numbers
from typing import Any

import pandas as pd

from .table import seconds


def is_number(value: Any) -> bool:
    """Whether a cell holds a number rather than a status or nothing."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def text(value: Any, unit: str) -> str:
    """Return a cell as it is shown; ``unit`` is ``ratio``, ``seconds``, ``change``, ``time`` or ''."""
    if isinstance(value, str):
        return value
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if unit == "seconds":
        return seconds(float(value))
    if unit == "ratio":  # a hundredth is enough, except where it would leave no digit
        return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
    if unit == "change":
        return f"{value:+.1%}"
    return f"{value:%Y-%m-%d %H:%M}" if unit == "time" else str(value)
