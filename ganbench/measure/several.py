"""Several runs, one after the other or in turns, round by round.

In turns, every run makes one round, then every run the next, in random order. So what slows the machine for minutes
slows all of them, and their times are paired by turn.
"""

import contextlib
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..errors import GanbenchError, UsageError
from ..results.run import Ending, Point, Several, V
from .plan import Plan, length
from .rounds import Progress
from .session import Say, Steps, alone, begin, tell_unread


def announcement(variable: str, made: Mapping[V, Plan], turns: bool) -> str:
    """Return in one sentence what is about to be measured, and how long that may take."""
    rigor = next(iter(made.values())).rigor
    return f"{len(made)} runs{' in turns' * turns}, {variable} {', '.join(map(str, made))}: {length(rigor, len(made))}"


def carry_out(
    variable: str, made: Mapping[V, Plan], results: Path, machine: str | None, say: Say, progress: Progress,
    turns: bool = False,
) -> Several[V]:  # fmt: skip
    """Run every plan. What fails is a point with its reason, and an interrupt keeps what there is.

    Raises ``UsageError`` where not even the first run can begin.
    """
    first = next(iter(made.values()))
    points: dict[V, Point[V]] = {}
    going: dict[V, Steps] = {}
    shares = dict.fromkeys(made, 0.0)

    def tell(value: V, share: float, text: str) -> None:
        shares[value] = share
        progress(sum(shares.values()) / len(made), f"{variable} {value}, {text}")

    def step(value: V) -> None:
        """Make the next round of a run, if there is one."""
        try:
            if value not in going:
                going[value] = begin(made[value], results, machine, partial(tell, value))
            next(going[value])
        except StopIteration as end:
            points[value] = Point(value, end.value)
            if end.value.ended.how == "interrupted":
                raise KeyboardInterrupt from end
        except (GanbenchError, MemoryError) as error:
            if isinstance(error, UsageError) and not (points or going):
                raise
            points[value] = _failed(value, error)
        shares[value] = float(value in points) or shares[value]

    tell_unread(first, say)
    stopped = False
    order = random.Random(first.seed)
    try:
        with alone(say):
            left = list(made)
            while left:
                for value in left if turns else left[:1]:
                    step(value)
                left = [value for value in made if value not in points]
                if turns:
                    order.shuffle(left)
    except KeyboardInterrupt:
        stopped = True
        for value in going.keys() - points.keys():
            with contextlib.suppress(KeyboardInterrupt):  # of one that has not made any step
                try:
                    going[value].throw(KeyboardInterrupt)
                except StopIteration as end:
                    points[value] = Point(value, end.value)
    known = tuple(points[value] for value in made if value in points)
    ends = [one.run.ended for one in known if one.run is not None and not one.run.ended.finished]
    return Several(
        variable,
        first.operations,
        tuple(target.label for target in first.targets),
        first.baseline,
        points=known,
        left=tuple(value for value in made if value not in points),
        ended=Ending("interrupted") if stopped else next(iter(ends), Ending("complete")),
    )


def _failed(value: V, error: Exception) -> Point[V]:
    """Return what came of a value whose run has ended in ``error``."""
    reason = " ".join(str(error).split()) or "the inputs do not fit"
    short = isinstance(error, MemoryError) or "memory" in reason.lower()  # the oracle's, in its own words
    return Point(value, None, "out of memory" if short else "failed", reason)
