"""The temporary folder of a run. If the run is killed, the guard removes it; if the guard is killed, the next run does.

A run locks its folder, so that no other run takes it for a folder of a dead run. This works also between containers
with different process numbers, and between users.
"""

import contextlib
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import guard
from .lock import is_free, try_lock

PREFIX = "ganbench-"
OWNER = "owner"


@contextlib.contextmanager
def workspace() -> Iterator[str]:
    """Remove the folders of dead runs and yield a new temporary folder; raises ``OSError`` if there is no room."""
    remove_stale(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder,
        try_lock(Path(folder)),
    ):
        (Path(folder) / OWNER).write_text(platform.node())  # only now, when it is locked, may other runs see it
        guard.watch(Path(folder))
        yield folder


def remove_stale(parent: Path) -> None:
    """Remove the folders in ``parent`` that no run has locked; a doubtful one stays."""
    for path in parent.glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError, ValueError):
            # On a file system of several hosts, a lock may hold on its own host only.
            if path.read_text() == platform.node() and is_free(path.parent):
                shutil.rmtree(path.parent, ignore_errors=True)
