"""``ganbench compare --resume``: an interrupted run goes on in its own file, or says what forbids it."""

import warnings
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from .comparison import DIGITS, Comparison, describe, measure
from .errors import StorageError, UsageError
from .measure.environment import usable_cpus
from .measure.lock import run_lock
from .measure.past import finished_rounds, spent
from .measure.run import Progress, stage
from .plan import Plan, Rigor, reaching
from .records import Line, Resumed, RunEnd, RunHeader
from .store import DamagedResultsWarning, RunWriter, parse_run, whole_length, without_void
from .terminal import say

# What must be as it was; load and free memory may differ, as they do from round to round.
FIXED = ("cpu", "cpus", "logical_cpus", "gpus", "driver", "os", "python", "tuning", "uncontrolled")


def resume(
    path: Path, rounds: int, budget_s: float | None, precision_goal: float | None, progress: Progress
) -> Comparison:
    """Go on with the run that ``examine`` lets pass; its finished rounds and spent time count."""
    with run_lock(say):
        run = examine(path, rounds, budget_s, precision_goal)  # while it waited, another may have ended this run
        if run.torn:
            say(f"the last line of {path}, torn off in mid-write, was removed")
        with RunWriter(path, run.keep) as writer:
            writer.write(run.resumed)
            return measure(run.plan, run.images, without_void([*run.records, run.resumed]), writer, progress)


class Interrupted(NamedTuple):
    """A run that may go on."""

    keep: int  # bytes of its file
    torn: bool
    records: list[Line]
    plan: Plan
    images: np.ndarray
    resumed: Resumed


def examine(path: Path, rounds: int, budget_s: float | None, precision_goal: float | None) -> Interrupted:
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
    plan = _plan(records, header, (rounds, budget_s, precision_goal))
    end = records[-1]
    more = isinstance(end, RunEnd) and (
        rounds > end.rounds or (budget_s or 0) > end.seconds or (precision_goal and end.reason == "precision")
    )
    if isinstance(end, RunEnd) and not more:
        raise UsageError(
            f"run {header.run_id} has ended ({end.reason}, {end.rounds} rounds, {end.seconds:.0f} s): "
            "nothing to resume, unless --rounds, --budget or --precision asks for more"
        )
    images = stage(plan)
    now = describe(plan, images, header.machine)
    if differs := _differences(header, now):
        raise UsageError(f"run {header.run_id} cannot go on, since what differs must not be pooled: {differs}")
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


def _plan(records: list[Line], header: RunHeader, asked: tuple[int, float | None, float | None]) -> Plan:
    """Return the plan that the run was made by, with what it is to reach now."""
    settings = next((line.settings for line in reversed(records) if isinstance(line, Resumed)), header.settings)
    rigor = msgspec.convert(settings, Rigor)
    if asked != (0, None, None):
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
    )


def _differences(then: RunHeader, now: RunHeader) -> str:
    """Return in what the circumstances of two headers differ; '' if in nothing that counts."""
    pairs = {name: (then.environment.get(name), now.environment.get(name)) for name in FIXED}
    pairs |= {f"version of {name}": (then.versions.get(name), now.versions[name]) for name in now.versions}
    pairs |= {
        "ganbench": (then.version, now.version),
        "commit": (then.commit, now.commit),
        "uncommitted changes": (then.changes, now.changes),
        "data": (then.data_digest, now.data_digest),
    }
    return "; ".join(
        f"{name} was {_shown(was)}, is {_shown(current)}" for name, (was, current) in pairs.items() if was != current
    )


def _shown(value: object) -> str:
    if value is None or value == "":
        return "not recorded" if value is None else "none"
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
