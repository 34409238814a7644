"""The temporary folder of a run. The guard removes it if we are killed; if the guard is killed too, the next run.

Whoever has a folder locks it, so nobody takes it for one that was left: not in a container with other process numbers,
and not as another user.
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
    """Yield a new temporary folder, having removed those of dead runs; raises ``OSError`` if there is no room."""
    remove_stale(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder,
        try_lock(Path(folder)),
    ):
        (Path(folder) / OWNER).write_text(platform.node())  # only now, when it is locked, may others look at it
        guard.watch(Path(folder))
        yield folder


def remove_stale(parent: Path) -> None:
    """Remove the folders in ``parent`` that nobody has; never one that is in doubt."""
    for path in parent.glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError, ValueError):
            # On a file system of several hosts a lock may hold on its own host only.
            if path.read_text() == platform.node() and is_free(path.parent):
                shutil.rmtree(path.parent, ignore_errors=True)
