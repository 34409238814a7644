"""The rows of run files, kept for the next time where there are many: then only new files are worked out again.

What is kept belongs to the content of a file and to the code that made rows of it, so it is never out of date. It lies
in the folder that the system has for such things, and may be deleted at any time.
"""

import contextlib
import functools
import hashlib
import warnings
from pathlib import Path
from typing import Any

import msgspec

from ..errors import StorageError
from .run import open_run
from .store import cache_folder, replace_file
from .table import Rows, run_rows

MANY = 100  # files; fewer are read in a second or two


def kept_rows(file: Path) -> Rows:
    """Return the rows of a run file as ``run_rows`` does, kept or new. Raises ``StorageError`` as ``open_run`` does."""
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError):  # RuntimeError: nobody's home is known
        return _decoder().decode(_path(file).read_bytes())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = run_rows(open_run(file))
    for one in said:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if not said:
        with contextlib.suppress(OSError, RuntimeError, StorageError):
            path = _path(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda out: out.write(msgspec.msgpack.encode(rows)))
    return rows


def _path(file: Path) -> Path:
    name = hashlib.sha256(_code() + file.read_bytes()).hexdigest()
    return cache_folder() / "rows" / name[:2] / name[2:]


@functools.cache
def _code() -> bytes:
    """Return what changes whenever the code does that makes rows."""
    return b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


@functools.cache
def _decoder() -> "msgspec.msgpack.Decoder[Rows]":
    return msgspec.msgpack.Decoder(list[dict[str, Any]])
