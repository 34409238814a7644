"""The same work measured again: which runs repeat each other, and what they say together.

The interval of a run speaks of that run. Another run of the same code may differ by more: its processes get other
memory, and the machine has another hour. Only several runs show how much, so only they confirm a difference.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import StorageError
from .differences import changes, obstacles
from .run import Run, open_run
from .statistics import MIN_ROUNDS, Estimate, Verdict, half_width, judge, speed_of, student, variance

Work = tuple[Any, str]  # an operation, with what tells it apart, and a target
Ratios = dict[Work, list[Estimate]]  # of each run, in the order of the runs
ANOTHER_DRAW = "seed"  # what two runs of the same work may differ in


class Spread(NamedTuple):
    """The variance of a log-ratio from run to run, and with how many degrees of freedom it is known."""

    variance: float
    freedom: int


def repeats(run: Run, *beside: Path) -> list[Run]:
    """Return ``run`` and those beside its file that did the same work with the same code: the oldest first.

    ``beside`` are more files beside which they may be.
    """
    if run.header.count:
        return [run]  # equal counts need no confirmation
    found = {run.header.run_id: run}
    folders = {path.resolve().parent: None for path in (run.path, *beside) if path}
    for path in (path for folder in folders for path in folder.glob("*.jsonl")):
        try:
            other = open_run(path)
        except StorageError:
            continue  # said when it is read for itself
        same = other.header.baseline == run.header.baseline and not obstacles(run, other)
        if same and {one.name for one in changes(run, other)} <= {ANOTHER_DRAW}:
            found.setdefault(other.header.run_id, other)
    return [found[run_id] for run_id in sorted(found)]


def speeds(runs: Iterable[Run]) -> Ratios:
    """Return the speeds relative to the baseline that have an interval, by case."""
    found: Ratios = {}
    for run in runs:
        baseline = run.header.baseline
        for operation in run.header.operations:
            own = run.copies(operation, baseline)
            for target in (one.label for one in run.header.targets if one.label != baseline):
                speed = speed_of(own, run.copies(operation, target))
                if speed is not None and speed.has_interval:
                    found.setdefault((operation, target), []).append(speed)
    return found


def spread(groups: Iterable[Mapping[Work, Sequence[Estimate]]]) -> Spread | None:
    """Return how far runs of the same work lie apart, over all cases; None where none was measured twice.

    One case in two runs says next to nothing of a variance; all cases together do. The targets of an operation share
    its baseline, so each operation counts once in the degrees of freedom.
    """
    squares = freedom = 0.0
    operations: dict[tuple[int, Any], int] = {}
    for number, ratios in enumerate(groups):
        for (operation, _), several in ratios.items():
            if len(several) > 1:
                free = len(several) - 1
                squares += free * variance([math.log(one.value) for one in several])
                freedom += free
                operations[number, operation] = max(free, operations.get((number, operation), 0))
    return Spread(squares / freedom, sum(operations.values())) if freedom else None


def together(groups: Sequence[Sequence[Estimate]], between: Spread) -> Verdict:
    """Return what the runs of one group say of a ratio together, or of two groups by how much the second's lies above.

    The interval is the wider of two: of the rounds within the runs, and of the runs' own spread.
    """
    means = [statistics.fmean(math.log(one.value) for one in group) for group in groups]
    middle = means[-1] - (means[0] if len(groups) > 1 else 0.0)
    within = math.sqrt(sum(sum(half_width(one) ** 2 for one in group) / len(group) ** 2 for group in groups))
    apart = student(between.freedom) * math.sqrt(between.variance * sum(1 / len(group) for group in groups))
    half = max(within, apart)
    return judge(Estimate(*(math.exp(middle + step) for step in (0.0, -half, half))), MIN_ROUNDS, None)
