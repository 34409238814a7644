"""The list of what was kept: a line for each run, and for each file of asv's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..results.asv import is_asv_file, read_asv
from ..results.case import hardware_of, machine_names
from ..results.run import Run, open_run, run_files

COLUMNS = ("run", "machine", "rigor", "rounds", "ended", "size", "measured")
ASV_COLUMNS = ("time (UTC)", "machine", "size", "file of asv, and what was measured")
LEAST = (("size", ""), ("rigor", ""), ("rounds", ""), ("ended", ""), ("machine", ""))  # without room, left out
FEW = 16  # letters of names that are named
Lines = list[tuple[str, ...]]


def listing(results: Path) -> tuple[Lines, Lines, list[str]]:
    """Return a line of cells for each run and for each file of asv's, the newest first, and what cannot be read."""
    found, suites, faults = [], [], []
    for path in reversed(run_files(results)):
        try:
            found.append((open_run(path), path))
        except StorageError as error:
            faults.append(f"left out: {error}")
    made_of: dict[str, set[str]] = {}
    for run, _ in found:
        made_of.setdefault(run.header.machine, set()).add(hardware_of(run.header))
    runs = [_line(run, path, apart=len(made_of[run.header.machine]) > 1) for run, path in found]
    for path in sorted(path for path in results.glob("**/*.json") if is_asv_file(path)):
        try:
            suites.append(_line_of_asv(read_asv(path), path))
        except StorageError as error:
            faults.append(f"left out: {error}")
    return runs, sorted(suites, reverse=True), faults


def _line_of_asv(rows: list[dict[str, Any]], path: Path) -> tuple[str, ...]:
    if not rows:
        raise StorageError(f"{path} holds no results of this suite")
    targets, operations = (dict.fromkeys(row[name] for row in rows) for name in ("target", "operation"))
    time = str(max(row["timestamp"] for row in rows))[:16].replace("T", " ")
    what = f"{path.stem}: {_measured(targets, operations)}"
    return time, rows[0]["machine"], _size(path.stat().st_size), what


def _line(run: Run, path: Path, apart: bool) -> tuple[str, ...]:
    header = run.header
    return (
        header.run_id,
        machine_names(header)[apart],
        header.care,
        str(run.rounds),
        str(run.ended),
        _size(path.stat().st_size),
        f"{header.spec.name}: {_measured((target.label for target in header.targets), header.operations)}",
    )


def _measured(targets: Iterable[str], operations: Iterable[str]) -> str:
    """Return what was measured in so few letters that a run takes one line: names, or how many there are."""
    return f"{_few(operations, 'operations')} on {_few(targets, 'targets')}"


def _few(names: Iterable[str], what: str) -> str:
    several = [*names]
    said = ", ".join(several)
    return said if len(said) <= FEW or len(several) == 1 else f"{len(several)} {what}"


def _size(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
