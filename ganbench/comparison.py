"""``ganbench.compare``: plan, run, keep, and hand back what was measured."""

import contextlib
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from . import __version__, registry
from .errors import StorageError, UsageError
from .gan import GANSpec
from .gan import preset as find_preset
from .measure import environment
from .measure.lock import run_lock
from .measure.run import Progress, run, stage
from .plan import Plan, make_plan
from .records import FORMAT, Line, Record, RunHeader
from .results import frame, run_rows
from .store import RunWriter, check_writable, new_run_id, run_path
from .terminal import say

DIGITS = "UCI handwritten digits"  # what a header calls the packaged data


class Comparison:
    """What one run measured, and where it is kept; ``ended`` says why it stopped."""

    def __init__(self, records: Sequence[Line], path: Path | None, ended: str) -> None:
        self.records = list(records)
        self.path = path
        self.ended = ended

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per operation and target, as ``load_results`` does."""
        return frame(run_rows(self.records))

    def _repr_html_(self) -> str:
        from .report.notebook import to_html

        return to_html(self)

    def __repr__(self) -> str:
        from .report.table import summary

        return str(summary(self.to_pandas()).to_string(index=False))


def compare(
    backends: str | Sequence[str],
    *,
    preset: str = "mnist-mlp",
    spec: GANSpec | None = None,
    results: str | Path | None = "results",
    machine: str | None = None,
    data: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Comparison:
    """Measure ``backends`` (targets such as ``"numpy,torch.textbook,jax@cuda"``) against one another.

    ``spec`` overrides ``preset``; ``results=None`` keeps no file; further ``settings`` are those of
    ``ganbench.plan.make_plan``: devices, ops, dtype, math, threads, baseline, rigor, rounds, budget_s,
    precision_goal, timeout_s, seed. Raises ``UsageError`` for what cannot be, ``StorageError`` where results cannot be
    written; a backend that fails is a row with its reason.
    """
    plan = make_plan(
        spec or find_preset(preset),
        backends=backends,
        data=None if data is None else Path(data),
        **settings,
    )
    return carry_out(plan, None if results is None else Path(results), machine, progress or (lambda *_: None))


def carry_out(plan: Plan, results: Path | None, machine: str | None, progress: Progress) -> Comparison:
    """Run ``plan``; an interrupted run keeps what it has and says so in ``ended``."""
    if machine is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", machine):
        raise UsageError(f"machine '{machine}' is not valid: letters, digits, '.', '_' and '-' only")
    images = stage(plan)
    if results is not None:
        check_writable(results)
    with run_lock(say) if plan.timed else contextlib.nullcontext():
        header = describe(plan, images, machine)
        if results is None:
            records: list[Line] = [header]
            return Comparison(records, None, _run(plan, images, records.append, progress))
        with RunWriter(run_path(results, header.machine, header.run_id)) as writer:
            writer.write(header)
            return measure(plan, images, [header], writer, progress)


def measure(
    plan: Plan, images: np.ndarray, records: Sequence[Line], writer: RunWriter, progress: Progress
) -> Comparison:
    """Carry out what is left of ``plan`` after ``records``, which ``writer`` has written."""
    everything = list(records)

    def keep(record: Record) -> None:
        everything.append(record)  # type: ignore[arg-type]  # whatever a run writes is a Line
        writer.write(record)

    ended = _run(plan, images, keep, progress, records)
    return Comparison(everything, writer.path, ended)


def _run(
    plan: Plan,
    images: np.ndarray,
    write: Callable[[Any], None],
    progress: Progress,
    before: Sequence[Line] = (),
) -> str:
    try:
        return run(plan, images, write, progress, before)
    except KeyboardInterrupt:
        return "interrupted"
    except StorageError as error:  # the disk filled up: what was measured is still worth showing
        return str(error)


def describe(plan: Plan, images: np.ndarray, machine: str | None) -> RunHeader:
    """Return the header of a run that begins now, here, with this code."""
    commit, dirty = environment.source_state()
    return RunHeader(
        format=FORMAT,
        run_id=new_run_id(),
        timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        machine=machine or environment.machine_name(),
        environment=environment.metadata(),
        commit=commit,
        dirty=dirty,
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        spec=plan.spec,
        data=str(plan.data) if plan.data else DIGITS,
        operations=list(plan.operations),
        targets=list(plan.targets),
        baseline=plan.baseline,
        dtype=plan.dtype,
        precision=plan.precision,
        threads=plan.threads,
        rigor=plan.rigor_name,
        settings=msgspec.to_builtins(plan.rigor),
        seed=plan.seed,
        timeout_s=plan.timeout_s,
        data_digest=hashlib.sha256(images.tobytes()).hexdigest()[:16],
        versions={name: registry.load(name).probe().version for name in dict.fromkeys(t.backend for t in plan.targets)},
        changes=environment.source_changes(),
    )
