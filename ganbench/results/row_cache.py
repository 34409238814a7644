"""A cache of the rows of run files: only the rows of new files are computed.

An entry belongs to the content of a file and to the version of the code, so it is never out of date. The cache is in
the user's cache folder, and may be deleted at any time. Where many rows are new, further processes begin at the other
end of the list of files. They only keep rows: whoever reads a file finds them, or works them out.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import StorageError
from ..launch import command, die_with
from .collector import collector_off
from .store import cache_folder, content_of
from .table import NO_COLUMN, Values, rows_of

MANY = 100  # files; fewer are read in a second
MOST_HELPERS = 3  # where a container shows more processors than it may use, each only takes memory


def code_hash() -> "hashlib._Hash":
    """Return a hash of all of ganbench: what a run may hold is checked against models and operations, too."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py"))))


class RowCache(contextlib.AbstractContextManager["RowCache"]):
    """The rows that were kept of ``files``, in ``columns``; raises ``RuntimeError`` where nothing can be kept."""

    def __init__(self, columns: Sequence[str], files: Sequence[Path] = ()) -> None:
        self._columns = ",".join(columns)
        self._files = files
        self._new = 0
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._folder = str(cache_folder() / "rows")
        self._decode = msgspec.msgpack.Decoder(list[list[Any]]).decode
        self._code = code_hash()
        self._code.update(self._columns.encode())

    def rows(self, file: Path) -> Values:
        """Return the rows of a run file, kept or new; raises ``StorageError`` as ``open_run`` does."""
        place = self._place(content := content_of(file))
        with contextlib.suppress(OSError, msgspec.MsgspecError), open(place, "rb") as kept:  # noqa: PTH123 (speed)
            return self._decode(kept.read())
        self._new += 1
        if self._new == MANY:
            self._call_helpers()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            rows = rows_of(file, self._columns.split(","), content)
        for one in said:  # the next reader must hear it, too
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if not said:
            with contextlib.suppress(OSError):
                self._keep(place, rows)
        return rows

    def _call_helpers(self) -> None:
        """Start a process for each further processor; each takes its share of the files, the last one first."""
        count = min(MOST_HELPERS, (os.cpu_count() or 1) - 1) if len(self._files) > self._new else 0
        for number in range(count):
            with tempfile.TemporaryFile() as names, contextlib.suppress(OSError):
                names.write(b"\0".join(os.fsencode(file) for file in self._files[::-1][number::count]))
                names.seek(0)
                line, silent = command(__name__, str(os.getpid()), self._columns), subprocess.DEVNULL
                self._helpers.append(subprocess.Popen(line, stdin=names, stdout=silent, stderr=silent))

    def __exit__(self, *_: object) -> None:
        for helper in self._helpers:
            helper.kill()
            helper.wait()

    @staticmethod
    def _keep(place: str, rows: Values) -> None:
        fresh = f"{place}.{os.getpid()}"
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(fresh).write_bytes(msgspec.msgpack.encode(rows))
        Path(fresh).replace(place)  # not synced: a file that a power cut has torn is not decoded, and made again

    def _place(self, content: bytes) -> str:
        key = self._code.copy()
        key.update(content)
        name = key.hexdigest()
        return os.path.join(self._folder, name[:2], name[2:])  # noqa: PTH118 (as above)


def main() -> None:
    """Keep the rows of the files named on standard input; whoever reads a file that cannot be read says so."""
    die_with(int(sys.argv[1]))
    warnings.simplefilter("ignore")
    cache = RowCache(sys.argv[2].split(","))
    with collector_off():
        for name in sys.stdin.buffer.read().split(b"\0"):
            with contextlib.suppress(StorageError, *NO_COLUMN):
                cache.rows(Path(os.fsdecode(name)))


if __name__ == "__main__":
    main()
