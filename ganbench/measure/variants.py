"""``ganbench compare --vary``: what ingredients cost, from runs that take turns, round by round.

The run as it was asked for, and one run for each ingredient that is changed. In each turn every run makes one round, in
random order. So what slows the machine for minutes slows all of them, and their times are paired by turn.
"""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..errors import GanbenchError, UsageError, unknown
from ..registry import split_list
from ..results.run import Ending, Point, Priced
from ..settings import SETTINGS
from .plan import Plan, length, make_plan
from .rounds import Progress
from .session import Say, Steps, alone, begin
from .sweep import failed

BASE = "base"  # the name of the run as it was asked for
ROUNDS = 10  # where nothing else is said: an interval of six rounds is as wide as all of them
LIMITS = ("rounds", "precision_goal", "budget_s")
EXAMPLE = "such as loss=hinge batch-norm=off"


def plans(said: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plan of the base and of each variant, by name, such as ``loss=hinge``.

    Raises ``UsageError`` for what is not a variant, or is the base.
    """
    asked = dict(settings)
    if not any(asked.get(name) for name in LIMITS):
        asked["rounds"] = ROUNDS
    made = {BASE: make_plan(**asked)}
    known = {one.key: one for one in SETTINGS.values() if one.varied}
    for text in said:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (equals and values):
            raise UsageError(f"variant '{text}' is not valid: INGREDIENT=VALUES, {EXAMPLE}")
        if (key := key.replace("_", "-")) not in known:
            raise unknown("ingredient", key, known)
        setting = known[key]
        for value in split_list(values):
            try:
                changed = {setting.name: msgspec.convert(value, setting.hint, strict=False)}
            except msgspec.ValidationError:
                raise UsageError(f"variant '{key}={value}' is not valid: it takes a number ({setting.help})") from None
            made[f"{key}={value}"] = make_plan(**{**asked, **changed})
            if made[f"{key}={value}"] == made[BASE]:
                raise UsageError(f"variant '{key}={value}' is not valid: this is what the base has; leave it out")
    return made


def announcement(made: Mapping[str, Plan]) -> str:
    """Return in one sentence what is about to be measured, and how long that may take."""
    return f"{len(made)} runs in turns, {', '.join(made)}: {length(made[BASE].rigor, len(made))}"


def carry_out(made: Mapping[str, Plan], results: Path, machine: str | None, say: Say, progress: Progress) -> Priced:
    """Run all plans, in turns. One that fails is a point with its reason; an interrupt keeps what there is.

    Raises ``UsageError`` where the base cannot begin.
    """
    done = dict.fromkeys(made, 0.0)

    def tell(name: str, share: float, text: str) -> None:
        done[name] = share
        progress(sum(done.values()) / len(made), f"{name}, {text}")

    going: dict[str, Steps] = {}
    points: dict[str, Point[str]] = {}
    for name, plan in made.items():
        try:
            going[name] = begin(plan, results, machine, partial(tell, name))
        except (GanbenchError, MemoryError) as error:
            if name == BASE:
                raise
            points[name] = failed(name, error)
    order = random.Random(made[BASE].seed)
    with alone(say):
        try:
            while going:
                for name in order.sample(list(going), len(going)):
                    if (point := _step(name, partial(next, going[name]))) is not None:
                        points[name] = point
                        del going[name]
                        if point.run is not None and point.run.ended.how == "interrupted":
                            raise KeyboardInterrupt
        except KeyboardInterrupt:
            for name, steps in going.items():
                with contextlib.suppress(KeyboardInterrupt):  # of one that has not begun
                    if (point := _step(name, partial(steps.throw, KeyboardInterrupt))) is not None:
                        points[name] = point
    first = made[BASE]
    runs = [point.run for point in points.values() if point.run is not None]
    ended = next((run.ended for run in runs if not run.ended.finished), Ending("complete"))
    known = tuple(points[name] for name in made if name in points)
    return Priced(first.operations, tuple(target.label for target in first.targets), known, ended)


def _step(name: str, step: Callable[[], object]) -> Point[str] | None:
    """Take a step of a run; return what came of it if that was the last one."""
    try:
        step()
    except StopIteration as end:
        return Point(name, end.value)
    except (GanbenchError, MemoryError) as error:
        return failed(name, error)
    return None
