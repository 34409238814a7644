"""A run, and several: their records, their files and how they ended; and how to find a run."""

import contextlib
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from math import nan
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ..errors import StorageError, UsageError
from .bounds import Bound, Ceilings
from .case import machine_names
from .records import CeilingRecord, Line, Measurement, RunEnd, RunHeader, Status, WorkerRecord
from .statistics import Estimate, Visits, level, speed_of, typical
from .store import parse_run, read_run

Kind = TypeVar("Kind", bound=Line)
SHOWN = 5  # run ids named in an error


class Ending(NamedTuple):
    """How a run ended. ``why`` is the error of one that ``failed``.

    ``complete``: the rounds that were asked for; ``precision``: every interval is narrow enough; ``budget``: the
    time is spent.
    """

    how: Literal["complete", "precision", "budget", "interrupted", "failed"]
    why: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run reached what it was to reach."""
        return self.how not in ("interrupted", "failed")

    def __str__(self) -> str:
        return f"{self.how}: {self.why}" if self.why else self.how


class Run:
    """The records of one run, its file if it has one, and how it ended."""

    def __init__(self, records: Sequence[Line], path: Path | None, ended: Ending) -> None:
        self.records = list(records)
        self.path = path
        self.ended = ended
        self._visits: dict[tuple[str, str, bool], dict[int, Visits]] = {}
        self._controls: dict[str, Estimate | None] = {}
        self._times: dict[tuple[str, str], Estimate | None] = {}

    @property
    def header(self) -> RunHeader:
        """What was asked for, of which machine, by which code."""
        first = self.records[0]
        assert isinstance(first, RunHeader)  # as ``parse_run`` made sure
        return first

    @cached_property
    def _by_kind(self) -> dict[type, list[Any]]:
        found: dict[type, list[Any]] = {}
        for record in self.records:
            found.setdefault(type(record), []).append(record)
        return found

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Return the records of one kind."""
        return self._by_kind.get(kind, [])

    @property
    def measurements(self) -> list[Measurement]:
        """Every case in every round."""
        return self.all(Measurement)

    @cached_property
    def ceilings(self) -> Ceilings:
        """What the hardware can do, as far as it was measured."""
        return Ceilings(self.all(CeilingRecord))

    @cached_property
    def cases(self) -> dict[tuple[str, str, bool], list[Measurement]]:
        """The rounds of each case: by operation, target, and whether it is the second copy of the baseline."""
        found: dict[tuple[str, str, bool], list[Measurement]] = {}
        for one in self.measurements:
            found.setdefault((one.operation, one.target, one.copy), []).append(one)
        return found

    @property
    def rounds(self) -> int:
        """The number of the last round."""
        return max((one.round for one in self.measurements), default=0)

    @property
    def statuses(self) -> set[str]:
        """What became of the cases."""
        return {record.status for record in self.measurements}

    @cached_property
    def workers(self) -> dict[str, WorkerRecord]:
        """The first worker of each target."""
        found: dict[str, WorkerRecord] = {}
        for record in self.all(WorkerRecord):
            found.setdefault(record.target, record)
        return found

    def visits(self, operation: str, target: str, copy: bool = False) -> dict[int, Visits]:
        """Return the visits of each round to one case; nothing where the case failed in the end."""
        case = operation, target, copy
        if case not in self._visits:
            rounds = timed(self.cases.get(case, []))
            self._visits[case] = {one.round: dict(zip(one.passes, one.samples, strict=True)) for one in rounds}
        return self._visits[case]

    def levels(self, operation: str, target: str) -> dict[int, float]:
        """Return the typical seconds of each round of a case, of which no ``visits`` need be paired."""
        return {one.round: level(one.samples) for one in timed(self.cases.get((operation, target, False), []))}

    def time(self, operation: str, target: str) -> Estimate | None:
        """Return the typical seconds of one iteration of a case; None where it has no times."""
        case = operation, target
        if case not in self._times:
            levels = self.levels(operation, target)
            self._times[case] = typical([*levels.values()]) if levels else None
        return self._times[case]

    def bound(self, operation: str, target: str) -> Bound | None:
        """Return the least seconds that the hardware lets a case take; None where that was not measured."""
        first = self.cases[operation, target, False][0]
        device = next(one.device for one in self.header.targets if one.label == target)
        return self.ceilings.bound(device, first.flops, first.bytes, self.header.caches)

    def believed(self, operation: str, target: str) -> bool:
        """Whether a case has times, and the ceilings do not say that these cannot be."""
        time = self.time(operation, target)
        bound = time and self.bound(operation, target)
        return time is not None and not (bound and bound.refutes(time))

    def copies(self, operation: str, target: str) -> list[dict[int, Visits]]:
        """Return the visits of each round to every process of a target: the baseline has two of them in a round.

        There are none where its time is not ``believed``: nothing is compared with it.
        """
        if not self.believed(operation, target):
            return []
        return [self.visits(operation, target, copy) for copy in (False, True)]

    def control(self, operation: str) -> Estimate | None:
        """Return the speed of the baseline against its second copy; None where they share no round."""
        if operation not in self._controls:
            own = self.copies(operation, self.header.baseline)
            self._controls[operation] = speed_of(own[:1], own[1:])
        return self._controls[operation]

    @property
    def duty(self) -> float:
        """The share of the run's seconds that were spent in what was timed; NaN before the first row."""
        spent = max((one.elapsed_s for one in self.measurements), default=0.0)
        last = self.records[-1]
        if isinstance(last, RunEnd):
            spent = last.seconds
        timed = sum(one.iterations * sum(one.samples) for one in self.measurements)
        return timed / spent if spent else nan


RunOf = Callable[[str, str], Run | None]  # of a machine and the id of a run


V = TypeVar("V")  # a value of a sweep, or the name of a variant


class Point(NamedTuple, Generic[V]):
    """What came of one value: its run, or why there is none."""

    value: V
    run: Run | None
    status: Status = "ok"
    reason: str = ""


class Several(NamedTuple, Generic[V]):
    """What came of several runs that differ in ``variable``; ``left`` are the values that were not begun."""

    variable: str
    operations: tuple[str, ...]
    targets: tuple[str, ...]
    baseline: str
    points: tuple[Point[V], ...]
    left: tuple[V, ...]
    ended: Ending


def timed(taken: Sequence[Measurement]) -> list[Measurement]:
    """Return those of a case's rounds that have times; none where it failed in the end."""
    return [one for one in taken if one.samples] if taken and taken[-1].status == "ok" else []


def run_files(results: Path) -> list[Path]:
    """Return the run files below a folder, oldest first; raises ``StorageError`` if there is no such folder."""
    if not results.is_dir():
        raise StorageError(f"no results at {results}: the folder does not exist")
    return sorted(results.glob("**/compare/*.jsonl"), key=lambda path: path.stem)


def open_run(path: Path, content: bytes | None = None) -> Run:
    """Return the run in a file; one whose file has no last line was interrupted. Raises ``StorageError``.

    ``content`` is what the file holds, where that has been read.
    """
    records = read_run(path) if content is None else parse_run(content, path)
    last = records[-1]
    return Run(records, path, Ending(last.reason if isinstance(last, RunEnd) else "interrupted"))


def runs_below(path: Path) -> RunOf:
    """Return what finds the runs below a folder, or the one in a file; it returns None for one that cannot be read."""
    files: dict[str, list[Path]] = {}
    for file in run_files(path) if path.is_dir() else ():
        files.setdefault(file.stem, []).append(file)

    @cache
    def run_of(machine: str, run_id: str) -> Run | None:
        for file in [path] if path.is_file() else files.get(run_id, ()):
            with contextlib.suppress(StorageError):  # said when the table was read
                run = open_run(file)
                if machine in machine_names(run.header) and run.header.run_id == run_id:
                    return run
        return None

    return run_of


def find_run(name: str, results: Path) -> Path:
    """Return the file of a run, named by its path, its id or the beginning of its id.

    Raises ``UsageError`` for none and for several.
    """
    if Path(name).is_file():
        return Path(name)
    if not name or Path(name).is_dir():
        why = f"'{name}' is a folder" if name else "its name is empty: is a variable of the shell not set?"
        raise UsageError(f"no run: {why}; name a file or an id: 'ganbench results list {name or results}' shows them")
    files = run_files(results)
    found = [path for path in files if path.stem == name] or [path for path in files if path.stem.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(str(path) for path in found[:SHOWN]) + ", ..." * (len(found) > SHOWN)
        raise UsageError(f"run '{name}' is ambiguous, {len(found)} runs begin so: {several}")
    newest = ", ".join(path.stem for path in reversed(files[-SHOWN:])) or "none"
    raise UsageError(f"no run '{name}' in {results} (newest: {newest}); 'ganbench results list' shows all")
