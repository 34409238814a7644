"""How ganbench starts processes of its own, and what such a process does first."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]  # the folder of the package
# With -P nothing is imported from the current folder, where a user's random.py would replace Python's. ROOT is added
# only if another ganbench, or none, would be found: at the front of sys.path it might hide Python's own modules.
START = """
import importlib.util, os, runpy, sys
root, module = sys.argv[1:3]
del sys.argv[1:3]
found = importlib.util.find_spec("ganbench")
if root and (found is None or os.path.realpath(found.origin or "") != os.path.join(root, "ganbench", "__init__.py")):
    sys.path.insert(0, root)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
PR_SET_PDEATHSIG = 1
OPEN = b"ganbench: from here on, messages\n"  # the line that opens a channel
CHANNEL = "GANBENCH_CHANNEL"  # the variable with the descriptor of the channel; without it, it is standard output
# A line for sh, before what starts Python: what is printed goes to standard error, the channel to standard output.
APART = f"exec 3>&1 1>&2; export {CHANNEL}=3; "


def command(module: str, *arguments: str, python: str = "") -> list[str]:
    """Return the command line that runs ``module`` of this ganbench; in another ``python``, of the ganbench there."""
    start, root = (program(python), "") if python else (sys.executable, str(ROOT))
    return [start, "-P", "-c", START, root, module, *arguments]


def program(python: str) -> str:
    """Return where another Python is, as the system wants it."""
    return os.path.expanduser(python)  # noqa: PTH111 (pathlib would make ``./python`` one that PATH is searched for)


def answering(
    arguments: list[str], answers: int, said: IO[bytes], environment: dict[str, str], **more: Any
) -> "subprocess.Popen[bytes]":
    """Start a process whose channel is the descriptor ``answers``; whatever is printed there goes to ``said``.

    So nothing that Python prints when it starts is taken for a message, nor what a process prints that a
    sitecustomize.py has left behind.
    """
    if sys.platform == "win32":  # a process there is given these three alone
        return subprocess.Popen(arguments, stdout=answers, stderr=said, env=environment, **more)
    environment = {**environment, CHANNEL: str(answers)}
    return subprocess.Popen(arguments, stdout=said, stderr=said, env=environment, pass_fds=[answers], **more)


def channel() -> IO[bytes]:
    """Return the stream to the parent. From now on, whatever else is printed goes to standard error.

    No child inherits it. Where it is standard output, what was printed before stands before the line ``OPEN``.
    """
    with contextlib.suppress(OSError):  # nobody reads any more: the first message will meet it
        sys.stdout.flush()
    own = int(os.environ.pop(CHANNEL, sys.stdout.fileno()))
    stream = os.fdopen(os.dup(own), "wb")
    os.close(own)
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
