"""Reads files from a folder or an archive that someone else made, and trusts none of it.

Nothing is ever unpacked: names are checked and contents read into memory within bounds, so that no name can
lead out of a folder and no archive can fill the disk. What cannot be harmless is refused as a whole.
"""

import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from ..errors import UsageError

T = TypeVar("T")

MAX_FILE = 32 * 2**20  # a run of five minutes has 0.4 MB
MAX_TOTAL = 256 * 2**20
MAX_ARCHIVE = 64 * 2**20  # also bounds the list of members, which is read before they can be counted
MAX_MEMBERS = 10_000
MAX_NAME = 1000
WANTED = (".json", ".jsonl")  # read whole; of all others only the beginning, to know a pickle
HEAD = 1024
PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth")
MAGIC_NPY = b"\x93NUMPY"

# What the standard library raises while it reads a damaged archive. RuntimeError: encrypted.
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, OSError, RuntimeError, NotImplementedError, ValueError, OverflowError,
)  # fmt: skip


class Member(NamedTuple):
    """One file: its name inside, and its content, or only the beginning where it is of no interest."""

    name: str
    content: bytes


def members(path: Path) -> Iterator[Member]:
    """Yield the files of a folder, a .zip, a .tar.gz, or one file; every name and size has been checked.

    Raises ``UsageError`` for a name that leads out, for links, devices and pickles, for what is too large or
    too many, and for what is no such thing or damaged.
    """
    total = 0
    try:
        for member in _files(path):
            total += len(member.content)
            if total > MAX_TOTAL:
                raise UsageError(f"{path} holds more than {_mib(MAX_TOTAL)}; import part of it")
            if _is_pickle(member):
                raise UsageError(
                    f"refused {path}: '{member.name}' is a pickle, which runs code when it is loaded; "
                    "results are .jsonl and .json files alone"
                )
            yield member
    except DAMAGE as error:
        why = getattr(error, "strerror", None) or error or "it is damaged"
        raise UsageError(f"cannot read {path}: {why}") from error


def _files(path: Path) -> Iterator[Member]:
    name = path.name.lower()
    if path.is_dir():
        yield from _in_folder(path)
    elif not path.is_file():
        raise UsageError(f"cannot import {path}: there is no such file or folder")
    elif path.stat().st_size > MAX_ARCHIVE:
        raise UsageError(f"{path} is larger than {_mib(MAX_ARCHIVE)}; import part of it")
    elif name.endswith(".zip"):
        yield from _in_zip(path)
    elif name.endswith((".tar.gz", ".tgz")):
        yield from _in_tar(path)
    elif name.endswith(WANTED):
        yield _open_file(path, path.name)
    else:
        raise UsageError(f"cannot import {path}: not a folder, a .zip, a .tar.gz, a .jsonl or a .json file")


def _in_folder(root: Path) -> Iterator[Member]:
    for path in _counted(root, _walk(root)):
        mode = path.lstat().st_mode
        name = _checked(root, path.relative_to(root).as_posix(), mode)
        if not stat.S_ISDIR(mode):
            yield _open_file(path, name)


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names.sort()
        yield from (Path(folder) / name for name in (*names, *sorted(files)))


def _open_file(path: Path, name: str) -> Member:
    # O_NOFOLLOW and O_NONBLOCK: between the look at it and now it may have become a link or a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        return _read(path, name, file)


def _in_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MAX_TOTAL:
            raise UsageError(f"{path} unpacks to more than {_mib(MAX_TOTAL)}; import part of it")
        for entry in _counted(path, entries):
            # orig_filename: zipfile cuts a name at its first NUL.
            name = _checked(path, entry.orig_filename, entry.external_attr >> 16)
            if not entry.is_dir():
                with archive.open(entry) as file:
                    yield _read(path, name, file)


def _in_tar(path: Path) -> Iterator[Member]:
    # As a stream, behind a bound: what is skipped is unpacked too, and a header may claim any length.
    with _Bounded(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for entry in _counted(path, archive):
            kind = stat.S_IFREG if entry.isreg() else stat.S_IFDIR if entry.isdir() else stat.S_IFLNK
            name = _checked(path, entry.name, kind)
            file = archive.extractfile(entry) if entry.isreg() else None
            if file is not None:
                yield _read(path, name, file)


def _counted(path: Path, entries: Iterable[T]) -> Iterator[T]:
    for count, entry in enumerate(entries, 1):
        if count > MAX_MEMBERS:
            raise UsageError(f"{path} holds more than {MAX_MEMBERS} files; import part of it")
        yield entry


class _Bounded(gzip.GzipFile):
    """A stream that refuses to give more than ``MAX_TOTAL``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path, self._left = path, MAX_TOTAL

    def read(self, size: int | None = -1) -> bytes:
        """Return at most ``size`` bytes, all of them within the bound."""
        found = super().read(self._left + 1 if size is None or size < 0 else min(size, self._left + 1))
        self._left -= len(found)
        if self._left < 0:
            raise UsageError(f"{self._path} unpacks to more than {_mib(MAX_TOTAL)}; import part of it")
        return found


def _read(archive: Path, name: str, file: IO[bytes]) -> Member:
    wanted = name.lower().endswith(WANTED)
    content = file.read(MAX_FILE + 1 if wanted else HEAD)
    if len(content) > MAX_FILE:
        raise UsageError(f"refused {archive}: '{name}' is larger than {_mib(MAX_FILE)}")
    return Member(name, content)


def _checked(archive: Path, name: str, mode: int) -> str:
    """Return ``name``, if it stays inside and is that of a plain file or folder."""
    shown = name if len(name) <= 100 else f"{name[:97]}..."
    if not name.isprintable():
        raise UsageError(f"refused {archive}: the name {shown!a} has characters that cannot be printed")
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
        raise UsageError(f"refused {archive}: '{shown}' leads out of the folder")
    if len(name) > MAX_NAME or any(len(part.encode()) > 255 for part in name.split("/")):
        raise UsageError(f"refused {archive}: the name '{shown}' is too long")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):  # 0: made where files have no mode
        raise UsageError(f"refused {archive}: '{shown}' is a link or a device, not a plain file")
    return name


def _is_pickle(member: Member) -> bool:
    """Whether this is a pickle, or an array file that holds one."""
    if member.name.lower().endswith(PICKLES) or re.match(rb"\x80[\x02-\x05]", member.content):
        return True
    return member.content.startswith(MAGIC_NPY) and b"O'" in member.content[:HEAD].partition(b"}")[0]


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"
