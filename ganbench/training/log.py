"""The log of a training: ``log.jsonl`` by epoch, ``losses.csv`` by iteration.

Lines are handed to the system after every epoch, so killing the program loses none that was complete; they
are on the disk before the state is. A resumed log is cut back to the iteration of the state and goes on.
"""

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import numpy as np

from ..errors import StorageError, refused
from ..gan import GANSpec
from ..results.store import replace_file
from .protocol import Cost, Ended, Epoch, Message, Started

LOG, LOSSES = "log.jsonl", "losses.csv"

_decoder = msgspec.json.Decoder(Started | Cost | Epoch | Ended)


class Log:
    """The two files of a training of ``spec``, open for appending after iteration ``step``.

    Raises ``StorageError`` where the disk does not take a line.
    """

    def __init__(self, folder: Path, spec: GANSpec, step: int, per_epoch: int) -> None:
        self._folder = folder
        self._cut(LOG, [], lambda line: _belongs(_decoder.decode(line), step, per_epoch))
        self._cut(LOSSES, [",".join(("step", *spec.reported))], lambda line: int(line.partition(",")[0]) <= step)
        with refused(StorageError, f"cannot write {folder}"):
            self._files = {name: (folder / name).open("a", encoding="utf-8") for name in (LOG, LOSSES)}

    def write(self, record: Message) -> None:
        """Append what happened."""
        self._append(LOG, msgspec.json.encode(record).decode() + "\n")

    def losses(self, step: int, losses: np.ndarray) -> None:
        """Append what the iterations after ``step`` reported, (n, columns)."""
        lines = (",".join(map(repr, [number, *line])) for number, line in enumerate(losses.tolist(), step + 1))
        self._append(LOSSES, "".join(f"{line}\n" for line in lines))

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

    def _guard(self, name: str) -> AbstractContextManager[None]:
        return refused(StorageError, f"cannot write {name} in {self._folder}", "; the state saved before is complete")

    def _cut(self, name: str, header: list[str], keep: Callable[[str], bool]) -> None:
        """Write the file anew with its header and the lines to keep; one that was torn or damaged is not."""
        path, kept = self._folder / name, header
        with refused(StorageError, f"cannot read {path}"):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        for line in lines:
            with contextlib.suppress(ValueError, msgspec.MsgspecError):
                kept += [line] * keep(line)
        replace_file(path, lambda file: file.write("".join(f"{line}\n" for line in kept).encode()))


def _belongs(record: Message, step: int, per_epoch: int) -> bool:
    if isinstance(record, Epoch):
        return record.step <= step and record.iterations == per_epoch
    return not isinstance(record, Started | Ended) or record.step <= step


def read_losses(folder: Path) -> np.ndarray:
    """Return (n, columns): iteration and what it reported, as a training left them in ``folder``."""
    header, *lines = (folder / LOSSES).read_text().splitlines()
    return np.array([line.split(",") for line in lines], np.float64).reshape(-1, header.count(",") + 1)
