"""A sweep as a value: one variable, its values, and the run of each."""

from typing import NamedTuple

from .records import Status
from .run import Ending, Run


class Sweep(NamedTuple):
    """One variable and its values, rising."""

    variable: str
    values: tuple[int, ...]


class Point(NamedTuple):
    """What came of one value: its run, or why there is none."""

    value: int
    run: Run | None
    status: Status = "ok"
    reason: str = ""


class Swept(NamedTuple):
    """What came of a sweep of ``targets`` on ``operations``; ``left`` are the values that were not begun."""

    sweep: Sweep
    operations: tuple[str, ...]
    targets: tuple[str, ...]
    baseline: str
    points: tuple[Point, ...]
    left: tuple[int, ...]
    ended: Ending
