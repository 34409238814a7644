"""Every target of a run against every other, from the visits of its rounds, and which of them may be the fastest."""

from typing import NamedTuple

import pandas as pd

from .run import Run
from .statistics import Verdict, judge, round_logs, speed_of


class Pair(NamedTuple):
    """The speed of ``target`` relative to ``baseline`` on one operation, with what may be said of it."""

    operation: str
    target: str
    baseline: str
    verdict: Verdict


def verdict(run: Run, operation: str, target: str, baseline: str) -> Verdict | None:
    """Return what may be said of ``target`` against ``baseline``; None where they share no round.

    The control of the run's own baseline stands for all, as it does in the run's table.
    """
    ours, theirs = run.copies(operation, baseline), run.copies(operation, target)
    ratio = speed_of(ours, theirs)
    if ratio is None:
        return None
    own = run.copies(operation, run.header.baseline)
    return judge(ratio, len(round_logs(ours, theirs)), speed_of(own[:1], own[1:]))


def pairs(run: Run) -> list[Pair]:
    """Return each ordered pair of targets that share rounds, but for those relative to the run's own baseline."""
    found, targets = [], [str(target) for target in run.header.targets]
    for operation in run.header.operations:
        for baseline in targets:
            for target in targets:
                told = baseline in (run.header.baseline, target)
                said = None if told else verdict(run, operation, target, baseline)
                if said is not None:
                    found.append(Pair(operation, target, baseline, said))
    return found


def fastest(run: Run, table: pd.DataFrame) -> dict[str, list[str]]:
    """Return for each operation the targets that may be the fastest.

    The first is the target with the lowest median. The others are those that it is not surely faster than. ``table`` is
    that of ``run_table``. An operation is left out where only one target has a time.
    """
    found = {}
    for operation, rows in table[table["status"] == "ok"].groupby("operation", sort=False):
        timed = rows.dropna(subset="median_s").sort_values("median_s", kind="stable")["target"].tolist()
        if len(timed) > 1:
            best, *others = timed
            said = {other: verdict(run, str(operation), best, other) for other in others}
            found[str(operation)] = [best, *(name for name, one in said.items() if not one or one.outcome != "faster")]
    return found
