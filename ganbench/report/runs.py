"""The list of what was kept: a line for each run, and for each file of asv's."""

from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..results.asv import is_asv_file, read_asv
from ..results.run import Run, open_run, run_files

COLUMNS = ("run", "time (UTC)", "machine", "rigor", "rounds", "ended", "size", "targets", "operations")
ASV_COLUMNS = ("file of asv", "time (UTC)", "machine", "size", "targets", "operations")
Lines = list[tuple[str, ...]]


def listing(results: Path) -> tuple[Lines, Lines, list[str]]:
    """Return a line of cells for each run, one for each file of asv's, and what cannot be read."""
    runs, suites, faults = [], [], []
    for path in run_files(results):
        try:
            runs.append(_line(open_run(path), path))
        except StorageError as error:
            faults.append(f"left out: {error}")
    for path in sorted(path for path in results.glob("**/*.json") if is_asv_file(path)):
        try:
            suites.append(_line_of_asv(read_asv(path), path))
        except StorageError as error:
            faults.append(f"left out: {error}")
    return runs, suites, faults


def _line_of_asv(rows: list[dict[str, Any]], path: Path) -> tuple[str, ...]:
    if not rows:
        raise StorageError(f"{path} holds no results of this suite")
    targets, operations = (",".join(dict.fromkeys(row[name] for row in rows)) for name in ("target", "operation"))
    time = str(max(row["timestamp"] for row in rows))[:16].replace("T", " ")
    return path.stem, time, rows[0]["machine"], _size(path.stat().st_size), targets, operations


def _line(run: Run, path: Path) -> tuple[str, ...]:
    header = run.header
    rounds = max((one.round for one in run.measurements), default=0)
    return (
        header.run_id,
        header.timestamp[:16].replace("T", " "),
        header.machine,
        header.rigor,
        str(rounds),
        str(run.ended),
        _size(path.stat().st_size),
        ",".join(target.label for target in header.targets),
        ",".join(header.operations),
    )


def _size(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
