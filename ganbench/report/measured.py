"""The newest measurement of each case on each machine, with its rounds: what may be compared from machine to machine.

Runs of two machines share no round, so what is said of them is unpaired.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import UsageError
from ..machine.environment import hardware_name
from ..results.case import Case, case_of
from ..results.records import RunHeader
from ..results.run import Run, RunOf, runs_below
from ..results.statistics import control_failed, judge
from ..results.table import control_of
from ..results.unpaired import unpaired_ratio
from .selection import select

SPEED = ("speed", "speed_low", "speed_high", "detectable")


class Measured:
    """One case on one machine: its row in ``load_results``, and its run."""

    def __init__(self, row: dict[str, Any], run: Run) -> None:
        self.row, self.run = row, run
        self.machine, self.threads = str(row["machine"]), int(row["threads"])
        self.case = case_of(row | {"target": row["label"]})

    @cached_property
    def levels(self) -> list[float]:
        """The typical seconds of each round."""
        return [*self.run.levels(self.case.operation, self.case.target).values()]

    @property
    def timed(self) -> bool:
        """Whether there is a time to speak of."""
        return self.row["status"] == "ok" and bool(self.levels)


def measured(rows: pd.DataFrame, run_of: RunOf) -> list[Measured]:
    """Return the newest of each case and machine in ``rows``, of the runs that ``run_of`` finds.

    Raises ``UsageError`` where no run of ``compare`` is among them.
    """
    mine = rows[(rows["source"] == "compare") & (rows["caches"] == "warm")]
    if mine.empty:
        raise UsageError(
            "no runs of 'ganbench compare' among these results: asv keeps no rounds to compare machines by"
        )
    newest: dict[tuple[Case, str], Measured] = {}
    for row in select(mine).rows.sort_values(["timestamp", "run_id"], kind="stable").to_dict("records"):
        run = None if row["status"] == "unavailable" else run_of(row["machine"], row["run_id"])
        if run is not None:
            one = Measured({str(key): value for key, value in row.items()}, run)
            newest[one.case, one.machine] = one
    return list(newest.values())


def of_several(path: Path) -> RunOf:
    """Return what finds runs below a folder; a single file is none of several machines: ``UsageError``."""
    if path.is_file():
        raise UsageError(f"{path} is one run, of one machine: name a folder with the runs of several")
    return runs_below(path)


def kind_of(header: RunHeader) -> str:
    """Return what a machine is, told from what its run recorded: equal machines have different names."""
    facts = header.environment
    cpu, cpus, gpus = (facts.get(name) for name in ("cpu", "cpus", "gpus"))
    if not isinstance(cpu, str) or not isinstance(cpus, list) or not isinstance(gpus, list):
        return header.machine
    return hardware_name(cpu, len(cpus), [str(name) for name in gpus])


def compared(one: Measured, others: list[Measured]) -> dict[str, Any]:
    """Return ``SPEED`` and ``verdict`` of ``one`` relative to ``others`` together, unpaired: more than 1 is faster."""
    levels = [seconds for other in others for seconds in other.levels]
    failed = next(filter(control_failed, (control_of(each.row) for each in (one, *others))), None)
    return judge(unpaired_ratio(one.levels, levels), min(len(one.levels), len(levels)), failed).named("speed")
