"""Which questions of a plan the results folder answers already: told from the run files, from no list beside them."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import msgspec

from ..errors import StorageError
from ..measure.plan import ASKED, record
from ..results.records import RunEnd, RunHeader
from ..results.run import Run, open_run
from ..results.store import DamagedResultsWarning
from .plan import Job


def question(job: Job, cores: int) -> str:
    """Return what ``job`` asks of a machine with so many cores, as a hash: equal questions need one run."""
    return _hash({**record(job.plan), "threads": job.threads or cores})


def answered(header: RunHeader) -> str:
    """Return the question that a run answers, as ``question`` does."""
    return _hash(msgspec.structs.asdict(header))


def _hash(said: dict[str, Any]) -> str:
    """Return a hash of what a header records of its plan."""
    facts = {**{name: said[name] for name in ASKED}, "targets": [target.label for target in said["targets"]]}
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:16]


def answers(results: Path) -> dict[tuple[str, str], Run]:
    """Return the newest finished run for each (machine, question) below a results folder.

    What cannot be read, or was interrupted, answers nothing.
    """
    found: dict[tuple[str, str], Run] = {}
    for path in sorted(results.glob("*/compare/*.jsonl"), key=lambda path: path.stem):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DamagedResultsWarning)
            try:
                run = open_run(path)
            except StorageError:
                continue
        if isinstance(run.records[-1], RunEnd):
            found[run.header.machine, answered(run.header)] = run
    return found


def absent(run: Run) -> set[str]:
    """Return the backends of a run of which some target was not available."""
    gone = {one.target for one in run.measurements if one.status == "unavailable"}
    return {target.backend for target in run.header.targets if target.label in gone}
