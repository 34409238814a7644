"""The run files that were kept: which there are, and the one that is meant."""

from pathlib import Path
from typing import Any

from ..asv_results import is_asv_file, read_asv
from ..comparison import Comparison
from ..errors import StorageError, UsageError
from ..records import Measurement, RunEnd, RunHeader
from ..store import read_run

COLUMNS = ("run", "time (UTC)", "machine", "rigor", "rounds", "ended", "size", "targets", "operations")
ASV_COLUMNS = ("file of asv", "time (UTC)", "machine", "size", "targets", "operations")
Lines = list[tuple[str, ...]]
SHOWN = 5  # run ids named in an error


def run_files(results: Path) -> list[Path]:
    """Return the run files below a folder, oldest first; raises ``StorageError`` if there is no such folder."""
    if not results.is_dir():
        raise StorageError(f"no results at {results}: the folder does not exist")
    return sorted(results.glob("**/compare/*.jsonl"), key=lambda path: path.stem)


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


def _line(run: Comparison, path: Path) -> tuple[str, ...]:
    header = run.records[0]
    assert isinstance(header, RunHeader)
    rounds = max((record.round for record in run.records if isinstance(record, Measurement)), default=0)
    return (
        header.run_id,
        header.timestamp[:16].replace("T", " "),
        header.machine,
        header.rigor,
        str(rounds),
        run.ended,
        _size(path.stat().st_size),
        ",".join(target.label for target in header.targets),
        ",".join(header.operations),
    )


def _size(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def open_run(path: Path) -> Comparison:
    """Return a run as ``compare`` handed it back; one that wrote no end was interrupted."""
    records = read_run(path)
    ended = records[-1].reason if isinstance(records[-1], RunEnd) else "interrupted"
    return Comparison(records, path, ended)


def find_run(name: str, results: Path) -> Path:
    """Return the file of a run, named by its path, its id or the beginning of its id.

    Raises ``UsageError`` for none and for several.
    """
    if Path(name).is_file():
        return Path(name)
    files = run_files(results)
    found = [path for path in files if path.stem == name] or [path for path in files if path.stem.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(str(path) for path in found[:SHOWN]) + ", ..." * (len(found) > SHOWN)
        raise UsageError(f"run '{name}' may be any of {len(found)}: {several}")
    newest = ", ".join(path.stem for path in reversed(files[-SHOWN:])) or "none"
    raise UsageError(f"no run '{name}' in {results} (newest: {newest}); 'ganbench results list' shows all")
