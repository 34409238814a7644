"""All results as one tidy DataFrame."""

import contextlib
import os
import warnings
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pandas as pd

from ..errors import StorageError
from .asv import is_asv_file, read_asv
from .collector import collector_off
from .columns import COLUMNS
from .row_cache import MANY, RowCache
from .run import open_run
from .store import DamagedResultsWarning
from .table import COUNTED, NO_COLUMN, Values, frame, run_rows, values

Found = dict[tuple[str, ...], tuple[Path, Values]]  # by run: its file and its rows
SOURCE, MACHINE, RUN_ID = map(COLUMNS.index, ("source", "machine", "run_id"))


def load_results(*paths: str | Path, progress: Callable[[float, str], None] | None = None) -> pd.DataFrame:
    """Return all runs below ``paths`` (folders or single files), asv's and ours, as a DataFrame.

    A row for each run, operation and target, with ``ganbench.results.table.COLUMNS``. A file that cannot be read, or
    is a copy of another, is named in a warning and left out. Runs that counted instructions have no times, and are left
    out, too. ``progress`` is told the share that is read. Raises ``StorageError`` if one of ``paths`` does not exist.
    """
    files: list[Path] = []
    for root in map(Path, paths):
        if not root.exists():
            raise StorageError(f"no results at {root}: the folder does not exist")
        files += [root] if root.is_file() else _result_files(root)
    with collector_off(), _cache(files) as cache:
        found = _read(files, cache.rows if cache else lambda file: values(run_rows(open_run(file))), progress)
        try:
            return frame(chain.from_iterable(rows for _, rows in found.values()))
        except NO_COLUMN:  # of some file; to make a frame of each always would take as long again
            return frame(chain.from_iterable(rows for file, rows in found.values() if _fits(file, rows)))


def _read(files: list[Path], read: Callable[[Path], Values], progress: Callable[[float, str], None] | None) -> Found:
    """Return the rows of each run; what is left out is said."""
    found: Found = {}
    for number, file in enumerate(files):
        if progress is not None:
            progress(number / len(files), f"reading {number:,} of {len(files):,} files")
        try:
            asv = is_asv_file(file)
            rows = values(read_asv(file)) if asv else read(file)
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
            run = (str(file),) if asv or not rows else (rows[0][MACHINE], rows[0][RUN_ID])
            one = file, rows
            less, more = sorted((one, found.get(run, one)), key=lambda one: one[0].stat().st_size)
            found[run] = more
            if less[0] != more[0]:
                _leave_out(f"{less[0]}: it is a copy of {more[0]}")
    return found


def _cache(files: list[Path]) -> contextlib.AbstractContextManager[RowCache | None]:
    """Return where the rows of many files are kept for the next time; nothing for few."""
    if len(files) >= MANY:
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
            return RowCache(files)
    return contextlib.nullcontext()


def _result_files(root: Path) -> list[Path]:
    """Return every file below ``root`` that should hold results: ours under ``compare/``, asv's as ``.json``."""
    for folder in (root, *root.glob("*/"), *root.glob("*/compare/")):
        if not os.access(folder, os.R_OK | os.X_OK):  # ``glob`` passes over it
            _leave_out(f"{folder}: the folder may not be opened")
    ours = root.glob("**/compare/*.jsonl")
    return sorted([*ours, *(path for path in root.glob("**/*.json") if is_asv_file(path))])


def _fits(file: Path, rows: Values) -> bool:
    try:
        frame(rows)
    except NO_COLUMN as error:
        _leave_out(f"{file}: {error}")
        return False
    return True


def _leave_out(what: str) -> None:
    warnings.warn(f"left out: {what}", DamagedResultsWarning, stacklevel=3)
