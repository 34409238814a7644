"""Every target of a run against every other, from the visits of its rounds: what a table for another baseline shows."""

from typing import NamedTuple

from .run import Run
from .statistics import Verdict, judge, shared_rounds, speed_of


class Pair(NamedTuple):
    """The speed of ``target`` relative to ``baseline`` on one operation, with what may be said of it."""

    operation: str
    target: str
    baseline: str
    rounds: int
    verdict: Verdict


def pairs(run: Run) -> list[Pair]:
    """Return each ordered pair of targets that share rounds, but for those with the run's own baseline.

    The control of the run's own baseline stands for all, as it does in the run's table.
    """
    own, found = run.header.baseline, []
    for operation in run.header.operations:
        visits = {name: run.visits(operation, name) for name in map(str, run.header.targets)}
        control = speed_of(visits[own], run.visits(operation, own, copy=True))
        for baseline in visits:
            for target in visits:
                ratio = None if baseline in (own, target) else speed_of(visits[baseline], visits[target])
                if ratio is not None:
                    rounds = len(shared_rounds(visits[baseline], visits[target]))
                    found.append(Pair(operation, target, baseline, rounds, judge(ratio, rounds, control)))
    return found
