"""A cache of the rows of run files: only the rows of new files are computed.

An entry belongs to the content of a file and to the version of the code, so it is never out of date. The cache is in
the user's cache folder, and may be deleted at any time.
"""

import contextlib
import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import msgspec

from .run import open_run
from .store import cache_folder, content_of
from .table import Rows, run_rows

MANY = 100  # files; fewer are read in a second


class RowCache:
    """The rows that were kept; raises ``RuntimeError`` where there is no place for such things."""

    def __init__(self) -> None:
        self._folder = str(cache_folder() / "rows")
        self._decode = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode
        # All of ganbench: what a run may hold is checked against models and operations, too.
        code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
        self._code = hashlib.sha256(code)

    def rows(self, file: Path) -> Rows:
        """Return the rows of a run file, kept or new; raises ``StorageError`` as ``open_run`` does."""
        place = self._place(file)
        with contextlib.suppress(OSError, msgspec.MsgspecError), open(place, "rb") as kept:  # noqa: PTH123 (speed)
            return self._decode(kept.read())
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            rows = run_rows(open_run(file))
        for one in said:  # the next reader must hear it, too
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if not said:
            with contextlib.suppress(OSError):
                self._keep(place, rows)
        return rows

    @staticmethod
    def _keep(place: str, rows: Rows) -> None:
        fresh = f"{place}.{os.getpid()}"
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(fresh).write_bytes(msgspec.msgpack.encode(rows))
        Path(fresh).replace(place)  # not synced: a file that a power cut has torn is not decoded, and made again

    def _place(self, file: Path) -> str:
        key = self._code.copy()
        key.update(content_of(file))
        name = key.hexdigest()
        return os.path.join(self._folder, name[:2], name[2:])  # noqa: PTH118 (as above)
