"""The log of a training: ``log.jsonl`` and ``log.csv`` by epoch, ``losses.csv`` by iteration.

Lines are handed to the system after every epoch, so killing the program loses none that was complete; they
are on the disk before the state is. A resumed log is cut back to the iteration of the state and goes on.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from ..errors import StorageError
from ..gan import GANSpec
from ..results.store import replace_file
from .protocol import Cost, Ended, Epoch, Message, Started, watched

LOG, TABLE, LOSSES = "log.jsonl", "log.csv", "losses.csv"
EPOCH = ("epoch", "step", "iterations", "d_loss", "g_loss")  # the first columns of the table

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Started | Cost | Epoch | Ended)


class Log:
    """The three files of a training of ``spec``, open for appending after iteration ``step``.

    Raises ``StorageError`` where the disk does not take a line.
    """

    def __init__(self, folder: Path, spec: GANSpec, step: int, per_epoch: int) -> None:
        self._folder = folder
        self._columns = (*EPOCH, *watched(spec), "images_per_s")
        self._cut(LOG, "", lambda line: _belongs(_decoder.decode(line), step, per_epoch))
        header = ",".join(self._columns)
        self._cut(TABLE, header, lambda line: _is_whole_epoch(line, len(self._columns), step, per_epoch))
        self._cut(LOSSES, ",".join(("step", *spec.reported)), lambda line: int(line.partition(",")[0]) <= step)
        try:
            self._files = {name: (folder / name).open("a", encoding="utf-8") for name in (LOG, TABLE, LOSSES)}
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror}") from error

    def write(self, record: Message) -> None:
        """Append what happened, an epoch to the table as well."""
        self._append(LOG, _encoder.encode(record).decode() + "\n")
        if isinstance(record, Epoch):
            self._append(TABLE, ",".join(str(getattr(record, name)) for name in self._columns) + "\n")

    def losses(self, step: int, losses: np.ndarray) -> None:
        """Append what the iterations after ``step`` reported, (n, columns)."""
        lines = (
            ",".join([str(number), *map(repr, values)]) + "\n"
            for number, values in enumerate(losses.tolist(), step + 1)
        )
        self._append(LOSSES, "".join(lines))

    def sync(self) -> None:
        """Return once every line is on the disk."""
        with self._guard("log files"):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; what could not be written was reported before."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()

    def _append(self, name: str, text: str) -> None:
        with self._guard(name):
            self._files[name].write(text)
            self._files[name].flush()

    @contextlib.contextmanager
    def _guard(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write {name} in {self._folder}: {error.strerror}; the state saved before is complete"
            ) from error

    def _cut(self, name: str, header: str, keep: Callable[[str], bool]) -> None:
        """Write the file anew with its header and the lines to keep."""
        path = self._folder / name
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        kept = [line for line in lines if line != header and _holds(keep, line)]
        text = "".join(f"{line}\n" for line in ([header] if header else []) + kept)
        replace_file(path, lambda file: file.write(text.encode()))


def _holds(keep: Callable[[str], bool], line: str) -> bool:
    """Whether a line is to be kept; one that was torn or damaged is not."""
    try:
        return keep(line)
    except (ValueError, msgspec.MsgspecError):
        return False


def _belongs(record: Message, step: int, per_epoch: int) -> bool:
    if isinstance(record, Epoch):
        return record.step <= step and record.iterations == per_epoch
    return not isinstance(record, Started | Ended) or record.step <= step


def _is_whole_epoch(line: str, columns: int, step: int, per_epoch: int) -> bool:
    fields = line.split(",")
    return len(fields) == columns and int(fields[1]) <= step and int(fields[2]) == per_epoch


def read_losses(folder: Path) -> np.ndarray:
    """Return (n, columns): iteration and what it reported, as a training left them in ``folder``."""
    header, *lines = (folder / LOSSES).read_text().splitlines()
    return np.array([line.split(",") for line in lines], np.float64).reshape(-1, header.count(",") + 1)
