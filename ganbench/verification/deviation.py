"""How far outputs lie from what they should be: ‖out − ref‖ / ‖ref‖, over each group of an operation's outputs."""

import math
from collections.abc import Sequence

import numpy as np

from ..operation import Output
from ..operations.rounding import widened
from ..results.records import GroupError


def group_errors(
    received: Sequence[np.ndarray], reference: Sequence[np.ndarray], expected: Sequence[Output], count: int
) -> list[GroupError]:
    """Return the relative error of each group after ``count`` iterations.

    Where the reference is all zero, it is 0 or infinity.
    """
    members: dict[str, list[tuple[str, float, float]]] = {}
    for array, answer, output in zip(received, reference, expected, strict=True):
        difference = float(np.linalg.norm(widened(np.asarray(array)) - answer))
        norm = float(np.linalg.norm(answer))
        members.setdefault(output.group, []).append((output.name, difference, norm))
    return [
        GroupError(
            group,
            count,
            _relative(math.hypot(*(d for _, d, _ in rows)), math.hypot(*(n for _, _, n in rows))),
            max(rows, key=lambda row: row[1])[0],
        )
        for group, rows in members.items()
    ]


def _relative(difference: float, norm: float) -> float:
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / norm
