"""The temporary folder of a run. The guard removes it if we are killed; if the guard is killed too, the next run."""

import contextlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from . import guard

PREFIX = "ganbench-"
OWNER = "owner.json"


@contextlib.contextmanager
def workspace() -> Iterator[str]:
    """Yield a new temporary folder, having removed those of dead runs; raises ``OSError`` if there is no room."""
    remove_stale(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        (Path(folder) / OWNER).write_text(json.dumps({"host": platform.node(), "pid": os.getpid()}))
        guard.watch(Path(folder))
        yield folder


def remove_stale(parent: Path) -> None:
    """Remove the folders in ``parent`` whose owner, a process of this host, is gone; never one that is in doubt."""
    for path in parent.glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            owner = json.loads(path.read_text())
            # A container that shares this folder numbers its processes anew, but has another name.
            if owner["host"] == platform.node() and not psutil.pid_exists(owner["pid"]):
                shutil.rmtree(path.parent, ignore_errors=True)
