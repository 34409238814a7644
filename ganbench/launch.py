"""How ganbench starts processes of its own, and what such a process does first."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]  # the folder of the package
# With -P nothing is imported from the current folder, where a user's random.py would replace Python's. ROOT is added
# only if another ganbench, or none, would be found: at the front of sys.path it might hide Python's own modules.
START = """
import importlib.util, os, runpy, sys
root, module = sys.argv[1:3]
del sys.argv[1:3]
found = importlib.util.find_spec("ganbench")
if found is None or os.path.realpath(found.origin or "") != os.path.join(root, "ganbench", "__init__.py"):
    sys.path.insert(0, root)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
PR_SET_PDEATHSIG = 1
OPEN = b"ganbench: from here on, messages\n"  # the line that opens a channel


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs ``module`` of this ganbench."""
    return [sys.executable, "-P", "-c", START, str(ROOT), module, *arguments]


def channel() -> IO[bytes]:
    """Return the stream to the parent. From now on, whatever else is printed goes to standard error.

    What Python printed when it started, such as a sitecustomize.py of the system, stands before the line ``OPEN``.
    """
    with contextlib.suppress(OSError):  # nobody reads any more: the first message will meet it
        sys.stdout.flush()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    stream.write(b"\n" + OPEN)
    return stream


def die_with(parent: int) -> None:
    """Ask Linux to kill this process with its parent, and to prefer it to the parent when memory is short."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl
        sys.exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
