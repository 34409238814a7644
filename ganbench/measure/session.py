"""One run from its plan to its file: the lock, the header, the rounds, what is kept however it ends, and going on."""

import contextlib
import re
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import convert
from msgspec.structs import asdict, replace

from .. import registry
from ..data import data_digest, unread
from ..errors import GanbenchError, StorageError, UsageError, as_utf8
from ..machine import environment
from ..machine.lock import run_lock
from ..machine.processes import adopting
from ..results import store
from ..results.differences import shown, since_it_began
from ..results.records import RUN_FORMAT, CeilingRecord, Line, Measurement, Record, Resumed, RunEnd, RunHeader
from ..results.run import Ending, Run
from ..settings import Rigor
from . import callgrind
from .ledger import Ledger
from .plan import Case, Plan, asked_again, make_plan, reaching, record
from .rounds import Progress, run_rounds, stage

Say = Callable[[str], None]  # tells the user one thing besides the report
Steps = Generator[None, None, Run]  # a run that gives way after each round


def carry_out(plan: Plan, results: Path | None, machine: str | None, say: Say, progress: Progress) -> Run:
    """Measure ``plan`` and keep the run below ``results``, if that is given; an interrupted one keeps what it has.

    Raises ``UsageError`` for what cannot be, ``StorageError`` where results cannot be written.
    """
    steps = begin(plan, results, machine, progress)
    tell_unread(plan, say)
    with alone(say) if plan.timed or plan.count else adopting():
        return finish(steps)


def begin(plan: Plan, results: Path | None, machine: str | None, progress: Progress) -> Steps:
    """Return a run that may take turns with others. Raises what ``carry_out`` raises."""
    if machine is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", machine):
        raise UsageError(f"machine '{machine}' is not valid: up to 100 letters of A to Z, digits, '.', '_' and '-'")
    for target in plan.targets:
        registry.check_python(target.python)
    if plan.count:
        callgrind.check()
    images = stage(plan)
    if results is not None:
        store.check_writable(results)
    return _steps(plan, images, results, machine, progress)


def tell_unread(plan: Plan, say: Say) -> None:
    """Say what is in the folder of data and is not read."""
    if told := unread(plan.data):
        say(f"data {plan.data}: {told}")


def finish(steps: Steps) -> Run:
    """Take all steps of a run, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            run: Run = end.value
            return run


@contextlib.contextmanager
def alone(say: Say) -> Iterator[None]:
    """Inside this context no other run is timed on this machine, and the processes of ours are our children."""
    with run_lock(say), adopting():
        yield


def _steps(plan: Plan, images: np.ndarray, results: Path | None, machine: str | None, progress: Progress) -> Steps:
    header = describe(plan, machine)
    if results is None:
        return (yield from go_on(plan, images, [header], None, progress))
    with store.RunWriter(store.run_path(results, header.machine, header.run_id)) as writer:
        writer.write(header)
        return (yield from go_on(plan, images, [header], writer, progress))


def go_on(
    plan: Plan, images: np.ndarray, before: Sequence[Line], writer: store.RunWriter | None, progress: Progress,
    recall: Callable[[Ledger], int] = lambda _: 0,
) -> Steps:  # fmt: skip
    """Carry out what is left of ``plan`` after the records ``before``, which ``writer`` has written, round by round.

    ``recall`` fills the ledger with them, and says how many rounds are finished.
    """
    records = list(before)

    def keep(record: Record) -> None:
        records.append(record)  # type: ignore[arg-type]  # whatever a run writes is a Line
        if writer is not None:
            writer.write(record)

    try:
        ended = Ending((yield from run_rounds(plan, images, keep, progress, recall)))
    except KeyboardInterrupt:
        ended = Ending("interrupted")
    except StorageError as error:  # the disk filled up: what was measured is still worth showing
        ended = Ending("failed", str(error))
    except GanbenchError as error:  # the oracle is gone
        if not any(isinstance(record, Measurement) for record in records):
            raise
        ended = Ending("failed", str(error))
    return Run(records, None if writer is None else writer.path, ended)


def describe(plan: Plan, machine: str | None) -> RunHeader:
    """Return the header of a run that begins now, here, with this code."""
    commit, dirty = environment.source_state()
    return RunHeader(
        format=RUN_FORMAT,
        run_id=store.new_run_id(),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("ganbench"),
        machine=machine or environment.machine_name(),
        environment=environment.metadata(),
        commit=commit,
        dirty=dirty,
        command=[Path(sys.argv[0]).name, *map(shareable, sys.argv[1:])],
        **record(plan),
        data_digest=data_digest(plan.data),
        versions={one.library: registry.version(one.backend, one.python) for one in plan.targets}
        | ({callgrind.VALGRIND: callgrind.version()} if plan.count else {}),
        changes=environment.source_changes(),
    )


def shareable(word: str) -> str:
    """Return a word of the command line; of a full path only the name, because runs are given to others."""
    before, equals, value = ("", "", word) if Path(word).is_absolute() else word.rpartition("=")
    return as_utf8(before + equals + (Path(value).name if Path(value).is_absolute() else value))


def again(path: Path, **limits: Any) -> tuple[Plan, str]:
    """Return the plan of the run in ``path``, to be carried out once more, and the name of its machine.

    ``limits`` are as for ``interrupted``. Raises ``UsageError`` naming what differs from when it was measured.
    """
    _, header, records = _read(path)
    plan = _planned(header, records, **limits)
    _check_unchanged(header, describe(plan, header.machine), "be repeated")
    return plan, header.machine


def resume(path: Path, say: Say, progress: Progress, **limits: Any) -> Run:
    """Go on with the run that ``interrupted`` lets pass; its finished rounds and spent time count."""
    with alone(say):
        run = interrupted(path, **limits)  # while it waited, another may have ended this run
        if run.torn:
            say(f"the last line of {path} was incomplete and has been removed")
        with store.RunWriter(path, run.keep) as writer:
            writer.write(run.resumed)
            before = store.without_void([*run.records, run.resumed])
            return finish(go_on(run.plan, run.images, before, writer, progress, partial(recall, run.plan, before)))


class Interrupted(NamedTuple):
    """A run that may go on."""

    keep: int  # bytes of its file
    torn: bool
    records: list[Line]
    plan: Plan
    images: np.ndarray
    resumed: Resumed


def interrupted(path: Path, rounds: int | None, budget_s: float | None, precision_goal: float | None) -> Interrupted:
    """Return what is needed to go on with the run in ``path``.

    ``rounds`` and ``budget_s`` (seconds), both in all, or ``precision_goal`` replace what it was to reach.
    Raises ``UsageError`` where it has reached that, or naming what differs from when it began.
    """
    content, header, records = _read(path)
    plan = _planned(header, records, rounds, budget_s, precision_goal)
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
    _check_unchanged(header, now, "continue")
    resumed = Resumed(
        round=finished_rounds(plan, records) + 1,
        timestamp=now.timestamp,
        command=now.command,
        environment=now.environment,
        settings=now.settings,
        elapsed_s=spent(records),
    )
    keep = store.whole_length(content)
    return Interrupted(keep, keep < len(content), records, plan, images, resumed)


def _read(path: Path) -> tuple[bytes, RunHeader, list[Line]]:
    """Return the bytes of a run file, its header and its records, the header among them."""
    content = store.content_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", store.DamagedResultsWarning)  # said once, when it is cut off
        records = store.parse_run(content, path)
    header = records[0]
    assert isinstance(header, RunHeader)
    if header.format != RUN_FORMAT:
        raise UsageError(
            f"run {header.run_id} was begun by an earlier ganbench (format {header.format}, now {RUN_FORMAT}): "
            "it can be read, but neither continued nor repeated; start a new run"
        )
    return content, header, records


def _planned(
    header: RunHeader, records: Sequence[Line], rounds: int | None, budget_s: float | None, precision_goal: float | None
) -> Plan:
    """Return the plan of a run, with other limits where some are given."""
    rigor = convert(next(line.settings for line in reversed(records) if isinstance(line, Resumed | RunHeader)), Rigor)
    if (rounds, budget_s, precision_goal) != (None, None, None):
        rigor = reaching(rigor, rounds, budget_s, precision_goal)
    return replace(make_plan(header.spec, **asked_again(asdict(header))), rigor=rigor)


def _check_unchanged(header: RunHeader, now: RunHeader, what: str) -> None:
    if found := since_it_began(header, now):
        differs = "; ".join(f"{name} was {shown(then)}, is {shown(current)}" for name, then, current in found)
        raise UsageError(f"run {header.run_id} cannot {what}, because something has changed since it began: {differs}")


def finished_rounds(plan: Plan, records: Sequence[Line]) -> int:
    """Return how many rounds were measured whole: every case that had not failed has a row."""
    rows = measurements(plan, records)
    failed: set[Case] = set()
    last = max((row.round for _, row in rows), default=0)
    for number in range(1, last + 1):
        found = {case for case, row in rows if row.round == number}
        failed |= {case for case, row in rows if row.round == number and row.status != "ok"}
        if not set(plan.cases) <= found | failed:
            return number - 1
    return last


def recall(plan: Plan, records: Sequence[Line], ledger: Ledger) -> int:
    """Fill ``ledger`` with the finished rounds in ``records`` and the time they took; return their number."""
    finished = finished_rounds(plan, records)
    rows = measurements(plan, records)
    ledger.start = time.monotonic() - spent(records)
    ledger.ceilings += [record for record in records if isinstance(record, CeilingRecord)]
    for case, row in rows:
        if row.round > finished:
            continue
        if row.status != "ok":
            ledger.failed.add(case)
        elif row.samples:
            ledger.numbers[row.target, row.operation] = row.iterations // row.iterations_per_call
            ledger.visits.setdefault(case, {})[row.round] = dict(zip(row.passes, row.samples, strict=True))
    return finished


def spent(records: Sequence[Line]) -> float:
    """Return the seconds that a run has taken, those of a round that was not finished among them."""
    return max((line.elapsed_s for line in records if isinstance(line, Measurement | Resumed)), default=0.0)


def measurements(plan: Plan, records: Sequence[Line]) -> list[tuple[Case, Measurement]]:
    """Return every measurement with its case."""
    targets = {target.label: target for target in plan.targets}
    return [
        (Case(record.operation, targets[record.target], record.copy), record)
        for record in records
        if isinstance(record, Measurement)
    ]
