"""All results as one tidy DataFrame."""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..errors import StorageError
from .asv import is_asv_file, read_asv
from .collector import collector_off
from .columns import COLUMNS
from .row_cache import MANY, RowCache
from .store import DamagedResultsWarning
from .table import COUNTED, NO_COLUMN, OUTLINE, Values, frame, rows_of, values

Found = list[tuple[Path, Values]]  # each file that counts, and its rows
Progress = Callable[[float, str], None] | None
SOURCE, MACHINE, RUN_ID = map(OUTLINE.index, ("source", "machine", "run_id"))  # as in ``COLUMNS``
ORIGIN = "origin"  # the column of a row's ``Origin``


class Origin(NamedTuple):
    """Where a row is from: its file, its place among the rows there, and among how many; and whether these are kept."""

    file: Path
    place: int
    among: int
    kept: bool


def load_results(*paths: str | Path, progress: Progress = None) -> pd.DataFrame:
    """Return all runs below ``paths`` (folders or single files), asv's and ours, as a DataFrame.

    A row for each run, operation and target, with ``ganbench.results.table.COLUMNS``. A file that cannot be read, or
    is a copy of another, is named in a warning and left out. Runs that counted instructions have no times, and are left
    out, too. ``progress`` is told the share that is read. Raises ``StorageError`` if one of ``paths`` does not exist.
    """
    return _load(paths, COLUMNS, progress)


def load_outlines(*paths: str | Path, progress: Progress = None) -> pd.DataFrame:
    """Return the same rows with ``OUTLINE`` and ``ORIGIN`` alone; ``whole`` works out the rest of those it is given.

    So most of the work is left undone where of many runs the newest is shown.
    """
    return _load(paths, OUTLINE, progress)


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``load_outlines`` with all columns; those of ``load_results`` have them.

    Where the file has changed meanwhile, or holds what no column can, nothing more is known.
    """
    if ORIGIN not in rows:
        return rows
    files = list(dict.fromkeys(origin.file for origin in rows[ORIGIN]))
    found: dict[Path, Values] = {}
    keep = any(origin.kept for origin in rows[ORIGIN])
    with collector_off(), _reader(files, COLUMNS, keep) as read, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were said of the outlines
        for file in files:
            with contextlib.suppress(StorageError, *NO_COLUMN):
                found[file] = read(file)
        try:
            more = _rest(rows, found)
        except NO_COLUMN:
            more = _rest(rows, {file: values for file, values in found.items() if _fits(file, values, COLUMNS)})
    return rows.join(more[[name for name in COLUMNS if name not in rows]])


def _rest(rows: pd.DataFrame, found: Mapping[Path, Values]) -> pd.DataFrame:
    nothing = [math.nan] * len(COLUMNS)
    values = [of[at] if len(of := found.get(file, ())) == among else nothing for file, at, among, _ in rows[ORIGIN]]
    return frame(values, COLUMNS).set_index(rows.index)


def _load(paths: Sequence[str | Path], columns: list[str], progress: Progress) -> pd.DataFrame:
    files: list[Path] = []
    for root in map(Path, paths):
        if not root.exists():
            raise StorageError(f"no results at {root}: the folder does not exist")
        files += [root] if root.is_file() else _result_files(root)
    keep = len(files) >= MANY
    with collector_off(), _reader(files, columns, keep) as read:
        found = _read(files, read, progress)
        try:
            table = _frame(found, columns)
        except NO_COLUMN:  # of some file; to make a frame of each always would take as long again
            found = [(file, rows) for file, rows in found if _fits(file, rows, columns)]
            table = _frame(found, columns)
        if columns is OUTLINE:
            origins = [Origin(file, place, len(rows), keep) for file, rows in found for place in range(len(rows))]
            table[ORIGIN] = pd.Series(origins, dtype=object)
    return table


def _frame(found: Found, columns: list[str]) -> pd.DataFrame:
    return frame(chain.from_iterable(rows for _, rows in found), columns)


def _read(files: list[Path], read: Callable[[Path], Values], progress: Progress) -> Found:
    """Return the rows of each run; what is left out is said."""
    found: dict[tuple[str, ...], tuple[Path, Values]] = {}  # by run
    for number, file in enumerate(files):
        if progress is not None:
            progress(number / len(files), f"reading {number:,} of {len(files):,} files")
        try:
            rows = read(file)
        except StorageError as error:
            _leave_out(str(error))
        except NO_COLUMN as error:
            _leave_out(f"{file}: {error}")
        else:
            if rows and rows[0][SOURCE] == COUNTED:
                if len(files) == 1:
                    _leave_out(f"{file} holds counts, no times: 'ganbench results show' and 'ganbench diff' read it")
                continue
            # A copy of a file, such as a backup, is no further run; if it was made during the run, it holds less.
            run = (str(file),) if is_asv_file(file) or not rows else (rows[0][MACHINE], rows[0][RUN_ID])
            one = file, rows
            if (other := found.setdefault(run, one))[0] != file:
                less, found[run] = sorted((one, other), key=lambda one: one[0].stat().st_size)
                _leave_out(f"{less[0]}: it is a copy of {found[run][0]}")
    return list(found.values())


@contextlib.contextmanager
def _reader(files: list[Path], columns: list[str], keep: bool) -> Iterator[Callable[[Path], Values]]:
    """Yield what reads the rows of a file; those of runs may be kept for the next time."""
    kept: contextlib.AbstractContextManager[RowCache | None] = contextlib.nullcontext()
    if keep:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
            kept = RowCache(columns, files)
    with kept as cache:
        of_run = cache.rows if cache else partial(rows_of, columns=columns)
        yield lambda file: values(read_asv(file), columns) if is_asv_file(file) else of_run(file)


def _result_files(root: Path) -> list[Path]:
    """Return every file below ``root`` that should hold results: ours under ``compare/``, asv's as ``.json``."""
    for folder in (root, *root.glob("*/"), *root.glob("*/compare/")):
        if not os.access(folder, os.R_OK | os.X_OK):  # ``glob`` passes over it
            _leave_out(f"{folder}: the folder may not be opened")
    ours = root.glob("**/compare/*.jsonl")
    return sorted([*ours, *(path for path in root.glob("**/*.json") if is_asv_file(path))])


def _fits(file: Path, rows: Values, columns: list[str]) -> bool:
    try:
        frame(rows, columns)
    except NO_COLUMN as error:
        _leave_out(f"{file}: {error}")
        return False
    return True


def _leave_out(what: str) -> None:
    warnings.warn(f"left out: {what}", DamagedResultsWarning, stacklevel=3)
