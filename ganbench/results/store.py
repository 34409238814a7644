"""Writes run files durably, and reads them even where the last line is damaged.

Every line is on disk before the next is measured, so killing the program loses at most the round in
flight. A torn last line is dropped with a notice; a file of another program or format is named.
"""

import contextlib
import errno
import os
import secrets
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from ..errors import GanbenchError, StorageError, UnavailableError, UsageError, refused
from .consistency import fault
from .line_formats import FORMATS, all_decoded, decoded
from .records import RUN_FORMAT, Line, Record, Resumed, RunEnd, RunHeader

CACHE = "GANBENCH_CACHE"  # the variable that names another folder for what can be found again
_encoder = msgspec.json.Encoder()
# GanbenchError: a model that cannot be; RecursionError: ten thousand brackets.
DAMAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, GanbenchError)


class DamagedResultsWarning(UserWarning):
    """A results file, or its last line, that was left out."""


class _Format(msgspec.Struct):
    type: str
    format: int


def new_run_id() -> str:
    """Return a name that sorts by time: to the second, and 65,536ths of it behind the hyphen."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{now.microsecond * 65_536 // 1_000_000:04x}"


def run_path(results: Path, machine: str, run_id: str) -> Path:
    """Return where the run is kept. Not ``.json``: asv walks this folder and warns about those."""
    return results / machine / "compare" / f"{run_id}.jsonl"


class RunWriter(contextlib.AbstractContextManager["RunWriter"]):
    """Appends records to one run file, each flushed to the disk.

    The file is a new one, unless ``keep`` says how much of an existing one is whole.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        self._failed = False
        place, hint = (path.parent, "; try another --results") if keep is None else (path, "")
        with refused(StorageError, f"cannot write results to {place}", hint):
            if keep is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file: BinaryIO = path.open("xb")
            else:
                self._file = path.open("r+b")
                self._file.truncate(keep)
                self._file.seek(keep)

    def write(self, record: Record) -> None:
        """Append one record; raises ``StorageError`` where the disk does not take it."""
        try:
            self._file.write(_encoder.encode(record) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            if not os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):  # noqa: PTH116 (as its brother)
                raise FileNotFoundError(errno.ENOENT, "another file has taken its place")
        except OSError as error:
            self._failed = True
            raise StorageError(
                f"cannot write results to {self.path}: {error.strerror}; "
                "the lines before it are complete and can be read"
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as error:  # a full disk may be found only now
            if kind is None and not self._failed:  # else it has been said
                raise StorageError(f"cannot write results to {self.path}: {error.strerror}") from error


def check_writable(folder: Path, option: str = "--results") -> None:
    """Raise ``UsageError`` now if results could not be written to ``folder`` later."""
    probe = folder / f".ganbench-{secrets.token_hex(4)}"
    with refused(UsageError, f"cannot write results to {folder}", f"; choose another folder with {option}"):
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def cache_folder() -> Path:
    """Return the folder for what can be found again; raises ``RuntimeError`` where nobody's home is known."""
    if own := os.environ.get(CACHE):
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # one that is relative does not count, as its rules say
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "ganbench"


@contextlib.contextmanager
def some_home() -> Iterator[None]:
    """Inside this context Altair can be imported, which asks for the home folder, even where nobody's is known.

    Raises ``UnavailableError`` where Python leaves out the docstrings that Altair reads.
    """
    if sys.flags.optimize > 1:
        raise UnavailableError("pictures and pages are drawn by Altair, which needs docstrings: unset PYTHONOPTIMIZE")
    known = True
    try:
        Path.home()
    except RuntimeError:
        known, os.environ["HOME"] = False, os.devnull
    try:
        yield
    finally:
        if not known:
            del os.environ["HOME"]


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Put what ``write`` writes in the place of ``path``, which is at every moment the old file or the new one.

    A link stays one: its target is replaced. Raises ``StorageError`` where the disk does not take it; the old file is
    then still there.
    """
    path = Path(os.path.realpath(path))
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        kept = "; the old file is unchanged" if path.exists() else ""
        raise StorageError(f"cannot write {path}: {error.strerror or error}{kept}") from error


def read_run(path: Path) -> list[Line]:
    """Return the records of one run file, header first.

    Raises ``StorageError`` for a file that is none of ours; drops a torn last line with a warning.
    """
    return parse_run(content_of(path), path)


def content_of(path: Path) -> bytes:
    """Return the bytes of a results file; raises ``StorageError``, also for a pipe, which might have no end."""
    with refused(StorageError, f"cannot read {path}"):
        if stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode):
            return path.read_bytes()
    raise StorageError(f"cannot read {path}: it is a pipe or a device")


def parse_run(content: bytes, path: object) -> list[Line]:
    """Return the records in ``content``, as ``read_run`` does; ``path`` is how messages name it."""
    lines = content.split(b"\n")
    try:
        head = msgspec.json.decode(lines[0], type=_Format)
    except DAMAGE as error:
        raise StorageError(f"{path} is not a ganbench run: its first line is not a header") from error
    if head.type != "run" or head.format not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        raise StorageError(f"{path} has format {head.format}; this ganbench reads formats {known}")
    records: list[Line] = []
    with contextlib.suppress(*DAMAGE):
        records = all_decoded(content, head.format)
    if len(records) != max(1, len(lines) - 1):  # not every line is whole
        records = _line_by_line(lines, head.format, path)
    if found := fault(records):
        raise StorageError(f"{path}, line {found[0]}: {found[1]}")
    return without_void(records)


def _line_by_line(lines: Sequence[bytes], form: int, path: object) -> list[Line]:
    """Return the records of lines of which one may be damaged, so that a message can name it."""
    records: list[Line] = []
    filled = [line for line in lines if line.strip()]
    for number, line in enumerate(filled, 1):
        try:
            records.append(decoded(line, form))
        except DAMAGE as error:
            if number == len(filled) and number > 1:
                warnings.warn(
                    f"{path}: the last line is incomplete and is left out",
                    DamagedResultsWarning,
                    stacklevel=3,
                )
                break
            raise StorageError(f"{path}, line {number}: {error}") from error
    return records


def without_void(records: Sequence[Line]) -> list[Line]:
    """Return what counts: not the round in flight when the run was interrupted, nor an end that was none."""
    kept: list[Line] = []
    for record in records:
        if isinstance(record, Resumed):
            kept = [line for line in kept if not isinstance(line, RunEnd) and not _since(line, record.round)]
        kept.append(record)
    return kept


def _since(line: Line, round_number: int) -> bool:
    # What names no round, such as the ceilings, was found in the first.
    return not isinstance(line, RunHeader | Resumed) and getattr(line, "round", 1) >= round_number


def whole_length(content: bytes) -> int:
    """Return how many bytes of a run file hold whole records: all but a torn last line."""
    keep = content.rfind(b"\n") + 1
    last = content.rfind(b"\n", 0, max(0, keep - 1)) + 1
    try:
        decoded(content[last:keep], RUN_FORMAT)
    except DAMAGE:
        return last
    return keep
