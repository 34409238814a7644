"""How each job of a plan stands on each machine, from what is known: descriptions, the journal, and run files.

That a question is answered is told from the run files, from no list beside them.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from math import nan
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import msgspec

from ..errors import StorageError
from ..measure.plan import ASKED, record
from ..results.records import RunEnd, RunHeader
from ..results.run import Run, open_run
from ..results.store import DamagedResultsWarning
from .journal import Failed, Given, Seen
from .machines import misfit
from .plan import Job

State = Literal["done", "to do", "running", "failed", "cannot", "refused"]
ANY = "any machine"


def question(job: Job, cores: int) -> str:
    """Return what ``job`` asks of a machine with so many cores, as a hash: equal questions need one run."""
    return _hash({**record(job.plan), "threads": job.threads or (1 if job.plan.count else cores)})


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


class Standing(NamedTuple):
    """One job on one machine, or on ``ANY``; ``number`` is its place in the plan, ``why`` the reason of its state."""

    number: int
    machine: str
    question: str  # '' for one on any machine that no machine has answered
    state: State
    why: str = ""
    run: Run | None = None


def standings(
    jobs: Sequence[Job],
    seen: Mapping[str, Seen],
    found: Mapping[tuple[str, str], Run],
    opened: Mapping[tuple[str, str], Given | Failed],
    live: bool,
) -> list[Standing]:
    """Return how every job stands on every machine that was seen; ``live``: what was given out is running."""
    rows = []
    for number, job in enumerate(jobs):
        asked = {cores: question(job, cores) for cores in {line.about.cores for line in seen.values()}}
        each = [_one(number, job, line, asked[line.about.cores], found, opened, live) for line in seen.values()]
        rows += each if job.every else [_any(number, each)]
    return rows


def _one(
    number: int, job: Job, line: Seen, asked: str, found: Mapping[tuple[str, str], Run],
    opened: Mapping[tuple[str, str], Given | Failed], live: bool,
) -> Standing:  # fmt: skip
    key = line.machine, asked
    stands, run = partial(Standing, number, *key), found.get(key)
    # Where a framework was missing then and is there now, the question is open again.
    # A framework may be there, but without some device.
    lacks = {*line.about.lacks, *(lack.partition("@")[0] for lack in line.about.lacks)}
    if run is not None and absent(run) <= lacks:
        return stands("done", run=run)
    if line.refused:
        return stands("refused", line.refused)
    if why := misfit(job, line.about):
        return stands("cannot", why)
    last = opened.get(key)
    if isinstance(last, Failed):
        return stands("failed", last.why)
    return stands("running" if live and last is not None else "to do")


def _any(number: int, each: Sequence[Standing]) -> Standing:
    """Return how a job stands of which one run is enough: as on the machine where it has come furthest."""
    order: tuple[State, ...] = ("done", "running", "to do", "failed", "cannot", "refused")
    best = min(each, key=lambda one: order.index(one.state), default=None)
    if best is None or best.state == "to do":
        return Standing(number, ANY, "", "to do")
    if best.state in ("cannot", "refused"):
        reasons = "; ".join(f"{one.machine}: {one.why}" for one in each)
        return Standing(number, ANY, "", "cannot", f"no machine can: {reasons}")
    return best


def remaining_s(jobs: Sequence[Job], rows: Sequence[Standing]) -> float:
    """Return the seconds until all is done: machines work beside one another, each on one job at a time.

    A job takes what it took elsewhere, else its budget, within which a run ends, or after one round if that takes
    longer; NaN where nobody knows.
    """
    done: dict[int, list[float]] = {}
    for row in rows:
        if row.run is not None and isinstance(last := row.run.records[-1], RunEnd):
            done.setdefault(row.number, []).append(last.seconds)
    each: dict[str, float] = dict.fromkeys((row.machine for row in rows if row.machine != ANY), 0.0)
    for row in rows:
        if row.state in ("to do", "running", "failed"):
            rigor, name = jobs[row.number].plan.rigor, row.machine
            seconds = fmean(done.get(row.number, [nan if rigor.rounds else rigor.budget_s]))
            if name == ANY:
                name = min(each, key=lambda one: each[one], default=ANY)
            each[name] = each.get(name, 0.0) + seconds
    return max(each.values(), default=0.0)
