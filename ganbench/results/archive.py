"""Finds the results in a folder or an archive that someone else made, and trusts none of it.

Only .jsonl and .json files are read, into memory and within bounds; all else is passed over. Nothing is unpacked, no
link is followed, and no name inside becomes a path: where a file goes follows from what it says.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from ..errors import UsageError

MAX_FILE = 32 * 2**20  # a run of five minutes has 0.4 MB
MAX_TOTAL = 256 * 2**20
MAX_ARCHIVE = 64 * 2**20  # also bounds the list of members, which is read before they can be counted
MAX_MEMBERS = 10_000
MAX_NAME = 200  # letters of a name that are shown
WANTED = (".json", ".jsonl")


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the .jsonl and .json files of a folder, a .zip or a .tar.gz, or the one that ``path`` is.

    Each is its name, as it may be shown, and its content, up to the first byte beyond ``MAX_FILE``.
    Raises ``UsageError`` for what is too large or holds too many, and for what is no such thing or damaged.
    """
    total = 0
    try:
        for count, (name, opener) in enumerate(_files(path), 1):
            if count > MAX_MEMBERS:
                raise UsageError(f"{path} holds more than {MAX_MEMBERS} files; import part of it")
            if not name.lower().endswith(WANTED):
                continue
            with opener() as file:
                content = file.read(MAX_FILE + 1)
            total += len(content)
            _check_size(path, "holds", total, MAX_TOTAL)
            yield "".join(letter if letter.isprintable() else "?" for letter in name[-MAX_NAME:]), content
    except UsageError:
        raise
    except Exception as error:  # damage surfaces as anything: BadZipFile, struct.error, RuntimeError where encrypted
        why = getattr(error, "strerror", None) or error or "it is damaged"
        raise UsageError(f"cannot read {path}: {why}") from error


def _files(path: Path) -> Iterator[tuple[str, Callable[[], IO[bytes] | Any]]]:
    """Yield names, and what opens them: of an archive all that is in it, of a folder what is wanted."""
    name = path.name.lower()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in WANTED)
        plain = (file for file in found if file.is_file() and not file.is_symlink())
        yield from ((file.relative_to(path).as_posix(), partial(file.open, "rb")) for file in plain)
        return
    if not path.is_file() or not name.endswith((".zip", ".tar.gz", ".tgz", *WANTED)):
        raise UsageError(f"cannot import {path}: no folder, .zip, .tar.gz, .jsonl or .json file is there")
    _check_size(path, "has", path.stat().st_size, MAX_ARCHIVE)
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("it is not compressed with deflate")  # zipfile unpacks too much of others
                yield entry.filename, partial(archive.open, entry)
    elif name.endswith(WANTED):
        yield path.name, partial(path.open, "rb")
    else:
        with gzip.open(path) as packed:
            unpacked = packed.read(MAX_TOTAL + 1)
        _check_size(path, "unpacks to", len(unpacked), MAX_TOTAL)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            yield from ((entry.name if entry.isreg() else "", partial(archive.extractfile, entry)) for entry in archive)


def _check_size(path: Path, does: str, size: int, most: int) -> None:
    if size > most:
        raise UsageError(f"{path} {does} more than {most // 2**20} MiB; import part of it")
