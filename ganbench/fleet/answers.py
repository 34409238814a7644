"""Which questions of a plan the results folder answers already: told from the run files, from no list beside them."""

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import StorageError
from ..measure.engine import VERSION
from ..results.records import DIGITS, RunEnd, RunHeader
from ..results.run import Run, open_run
from ..results.store import DamagedResultsWarning
from .plan import Job

FACTS = "spec operations baseline dtype precision caches seed rigor timeout_s".split()


def question(job: Job, cores: int) -> str:
    """Return what ``job`` asks of a machine with so many cores, as a hash: equal questions need one run."""
    plan = job.plan
    facts = {name: getattr(plan, name) for name in FACTS if name != "rigor"} | {"rigor": plan.rigor_name}
    settings = {"engine": VERSION, **msgspec.to_builtins(plan.rigor)}
    return _hash(facts, settings, [target.label for target in plan.targets], job.threads or cores, DIGITS)


def answered(header: RunHeader) -> str:
    """Return the question that a run answers, as ``question`` does."""
    facts = {name: getattr(header, name) for name in FACTS}
    return _hash(facts, header.settings, [one.label for one in header.targets], header.threads, header.data)


def _hash(facts: dict[str, Any], settings: dict[str, Any], targets: Iterable[str], threads: int, data: str) -> str:
    said = msgspec.json.encode([facts, settings, list(targets), threads, data], order="sorted")
    return hashlib.sha256(said).hexdigest()[:16]


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
