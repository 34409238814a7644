"""``ganbench compare --resume``: continues an interrupted run in its own file, or says why it cannot."""

import warnings
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ..errors import StorageError, UsageError
from ..machine.environment import usable_cpus
from ..machine.lock import run_lock
from ..results.differences import shown, since_it_began
from ..results.records import DIGITS, RUN_FORMAT, Line, Resumed, RunEnd, RunHeader
from ..results.run import Run
from ..results.store import DamagedResultsWarning, RunWriter, parse_run, whole_length, without_void
from .past import finished_rounds, spent
from .plan import Plan, Rigor, reaching
from .rounds import Progress, stage
from .session import Say, describe, go_on


def resume(
    path: Path, rounds: int | None, budget_s: float | None, precision_goal: float | None, say: Say, progress: Progress
) -> Run:
    """Go on with the run that ``examine`` lets pass; its finished rounds and spent time count."""
    with run_lock(say):
        run = examine(path, rounds, budget_s, precision_goal)  # while it waited, another may have ended this run
        if run.torn:
            say(f"the last line of {path} was incomplete and has been removed")
        with RunWriter(path, run.keep) as writer:
            writer.write(run.resumed)
            return go_on(run.plan, run.images, without_void([*run.records, run.resumed]), writer, progress)


class Interrupted(NamedTuple):
    """A run that may go on."""

    keep: int  # bytes of its file
    torn: bool
    records: list[Line]
    plan: Plan
    images: np.ndarray
    resumed: Resumed


def examine(path: Path, rounds: int | None, budget_s: float | None, precision_goal: float | None) -> Interrupted:
    """Return what is needed to go on with the run in ``path``.

    ``rounds`` and ``budget_s`` (seconds), both in all, or ``precision_goal`` replace what it was to reach.
    Raises ``UsageError`` where it has reached that, or naming what differs from when it began.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedResultsWarning)  # said once, when it is cut off
        records = parse_run(content, path)
    header = records[0]
    assert isinstance(header, RunHeader)
    if header.format != RUN_FORMAT:
        raise UsageError(
            f"run {header.run_id} was begun by an earlier ganbench (format {header.format}, now {RUN_FORMAT}): "
            "it can be read, but not continued; start a new run"
        )
    plan = _plan(records, header, (rounds, budget_s, precision_goal))
    end = records[-1]
    more = isinstance(end, RunEnd) and (
        (rounds or 0) > end.rounds or (budget_s or 0) > end.seconds or (precision_goal and end.reason == "precision")
    )
    if isinstance(end, RunEnd) and not more:
        raise UsageError(
            f"run {header.run_id} has ended ({end.reason}, {end.rounds} rounds, {end.seconds:.0f} s): "
            "there is nothing to continue, unless --rounds, --budget or --precision asks for more"
        )
    images = stage(plan)
    now = describe(plan, header.machine)
    if found := since_it_began(header, now):
        differs = "; ".join(f"{name} was {shown(then)}, is {shown(current)}" for name, then, current in found)
        raise UsageError(
            f"run {header.run_id} cannot continue, because something has changed since it began: {differs}"
        )
    resumed = Resumed(
        round=finished_rounds(plan, records) + 1,
        timestamp=now.timestamp,
        command=now.command,
        environment=now.environment,
        settings=now.settings,
        elapsed_s=spent(records),
    )
    keep = whole_length(content)
    return Interrupted(keep, keep < len(content), records, plan, images, resumed)


def _plan(records: list[Line], header: RunHeader, asked: tuple[int | None, float | None, float | None]) -> Plan:
    """Return the plan that the run was made by, with what it is to reach now."""
    settings = next((line.settings for line in reversed(records) if isinstance(line, Resumed)), header.settings)
    rigor = msgspec.convert(settings, Rigor)
    if asked != (None, None, None):
        rigor = reaching(rigor, *asked)
    return Plan(
        spec=header.spec,
        operations=tuple(header.operations),
        targets=tuple(header.targets),
        baseline=header.baseline,
        dtype=header.dtype,
        precision=header.precision,
        cpus=tuple(usable_cpus()[: header.threads]),
        data=None if header.data == DIGITS else Path(header.data),
        seed=header.seed,
        rigor_name=header.rigor,
        rigor=rigor,
        timeout_s=header.timeout_s,
        caches=header.caches,
        energy=header.energy,
    )
