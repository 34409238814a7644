"""One run from its plan to its file: the lock, the header, the rounds, and what is kept however it ends."""

import contextlib
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import registry
from ..data import data_digest
from ..errors import GanbenchError, StorageError, UsageError
from ..machine import environment
from ..machine.lock import run_lock
from ..results.records import RUN_FORMAT, Line, Measurement, Record, RunHeader
from ..results.run import Ending, Run
from ..results.store import RunWriter, check_writable, new_run_id, run_path
from .ledger import Ledger
from .plan import Plan, record
from .rounds import Progress, run_rounds, stage

Say = Callable[[str], None]  # tells the user one thing besides the report


def carry_out(plan: Plan, results: Path | None, machine: str | None, say: Say, progress: Progress) -> Run:
    """Measure ``plan`` and keep the run below ``results``, if that is given; an interrupted one keeps what it has.

    Raises ``UsageError`` for what cannot be, ``StorageError`` where results cannot be written.
    """
    if machine is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", machine):
        raise UsageError(f"machine '{machine}' is not valid: letters, digits, '.', '_' and '-' only")
    images = stage(plan)
    if results is not None:
        check_writable(results)
    with run_lock(say) if plan.timed else contextlib.nullcontext():
        header = describe(plan, machine)
        if results is None:
            return go_on(plan, images, [header], None, progress)
        with RunWriter(run_path(results, header.machine, header.run_id)) as writer:
            writer.write(header)
            return go_on(plan, images, [header], writer, progress)


def go_on(
    plan: Plan, images: np.ndarray, before: Sequence[Line], writer: RunWriter | None, progress: Progress,
    recall: Callable[[Ledger], int] = lambda _: 0,
) -> Run:  # fmt: skip
    """Carry out what is left of ``plan`` after the records ``before``, which ``writer`` has written.

    ``recall`` fills the ledger with them, and says how many rounds are finished.
    """
    records = list(before)

    def keep(record: Record) -> None:
        records.append(record)  # type: ignore[arg-type]  # whatever a run writes is a Line
        if writer is not None:
            writer.write(record)

    try:
        ended = Ending(run_rounds(plan, images, keep, progress, recall))
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
        run_id=new_run_id(),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("ganbench"),
        machine=machine or environment.machine_name(),
        environment=environment.metadata(),
        commit=commit,
        dirty=dirty,
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        **record(plan),
        data_digest=data_digest(plan.data),
        versions={name: registry.version(name) for name in dict.fromkeys(t.backend for t in plan.targets)},
        changes=environment.source_changes(),
    )
