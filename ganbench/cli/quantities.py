"""Reads quantities as people write them: ``2m``, ``120s``, ``1%``. The caller checks whether the value makes sense."""

import re
from collections.abc import Container

from ..errors import UsageError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Return the seconds that ``120``, ``120s``, ``2m`` or ``1h`` means; raises ``UsageError`` for others."""
    value, unit = _split(text, "time", SECONDS, "such as 120, 120s or 2m")
    return value * SECONDS[unit]


def share(text: str) -> float:
    """Return the fraction that ``1%`` or ``0.01`` means; raises ``UsageError`` for others."""
    value, unit = _split(text, "precision", ("", "%"), "such as 1% or 0.01")
    return value / 100 if unit else value


def _split(text: str, kind: str, units: Container[str], examples: str) -> tuple[float, str]:
    match = re.fullmatch(rf"({NUMBER})\s*([a-z%]*)", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None or match[2].lower() not in units:
        raise UsageError(f"{kind} '{text}' is not valid: {examples}")
    return float(match[1]), match[2].lower()
