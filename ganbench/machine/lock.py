"""One run at a time on one machine: two runs at once would disturb each other.

The lock is a file in the temporary folder of all users, and one in TMPDIR: either may be private, such as to a job of
SLURM. The system releases both when their owner ends, however it ends.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from ..errors import as_utf8

NAME = "ganbench.lock"
SHARED = "GANBENCH_LOCK"  # the variable that names another folder than /tmp: tests must not wait for runs elsewhere


class Holder(msgspec.Struct):
    """The process that holds the lock, as the message of a waiting process names it."""

    pid: int
    since: str
    command: str


if sys.platform == "win32":
    import msvcrt

    CAN_LOCK = True
    FAR = 2**30  # the locked byte; what is written before it stays readable to others

    def _take(file: IO[bytes], wait: bool) -> bool:
        while True:
            file.seek(FAR)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                if not wait:
                    return False
                time.sleep(0.2)
            else:
                return True
else:
    try:
        import fcntl

        CAN_LOCK = True
    except ImportError:
        CAN_LOCK = False

    def _take(file: IO[bytes] | int, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True


@contextlib.contextmanager
def run_lock(tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the machine's lock. If another process holds it, ``tell`` its name and wait for its end.

    If no lock is possible, the run goes on, and its header says so.
    """
    folders = [os.environ.get(SHARED, "/tmp")]
    with contextlib.suppress(OSError):  # there is no folder for temporary files: the run will say so
        folders.insert(0, tempfile.gettempdir())
    with contextlib.ExitStack() as held:
        for folder in dict.fromkeys(map(os.path.realpath, folders)) if CAN_LOCK else ():
            if os.access(folder, os.W_OK):
                held.enter_context(_locked(Path(folder) / NAME, tell))
        yield


@contextlib.contextmanager
def _locked(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    try:
        file = _open(path)
    except OSError as error:
        tell(f"cannot open {path} ({error.strerror}): another run at the same time would not be noticed")
        yield
        return
    with file:
        if not _take(file, wait=False):
            tell(f"waiting until {_holder(file)} has ended: two runs at once disturb each other; Ctrl-C stops waiting")
            _take(file, wait=True)
        command = as_utf8(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))[:200]
        _write(file, Holder(os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"), command))
        try:
            yield
        finally:
            _write(file, None)


@contextlib.contextmanager
def try_lock(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Lock ``folder``; ``wait`` until another process releases it. Yield whether this process has the lock.

    If the system has no locks, it always succeeds.
    """
    if not CAN_LOCK or sys.platform == "win32":
        yield True
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        yield _take(held, wait)
    finally:
        os.close(held)


def is_free(folder: Path) -> bool:
    """Return whether no process has locked ``folder`` with ``try_lock``; False if that is unknown."""
    if not CAN_LOCK or sys.platform == "win32":
        return False
    asked = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(asked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(asked)
    return True


def _open(path: Path) -> IO[bytes]:
    """Open the lock's file for all users; Linux refuses O_CREAT on another user's file in /tmp."""
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        try:
            return os.fdopen(os.open(path, flags), "r+b", buffering=0)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another process was faster
                created = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                path.chmod(0o666)  # whatever the umask is
                os.close(created)


def _holder(file: IO[bytes]) -> str:
    file.seek(0)
    try:
        holder = msgspec.json.decode(file.read(), type=Holder)
    except msgspec.MsgspecError:  # it has not written yet
        return "another run"
    return f"process {holder.pid} (since {holder.since}: {holder.command})"


def _write(file: IO[bytes], holder: Holder | None) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        file.seek(0)
        file.truncate()
        if holder is not None:
            file.write(msgspec.json.encode(holder))
