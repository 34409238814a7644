"""A worker that takes its orders from standard input: as ``local`` and ``ssh`` start it.

It opens no port, so only whoever started it can ask it anything. It ends with its standard input; the job that it is at
is then stopped, and goes on when it is asked for again.
"""

import base64
import contextlib
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import msgspec

from ..launch import channel
from ..results.store import CACHE
from . import worker_tasks


class Request(msgspec.Struct, frozen=True):
    """One line of standard input: a function of ``worker_tasks``, and what it gets."""

    task: str
    content: bytes = b""


def main() -> None:
    """Answer one request after the other. Argument: the folder in which all is kept, if not in the home."""
    stream = channel()
    if folder := "".join(sys.argv[1:2]):
        place = Path(folder).expanduser().absolute()
        place.mkdir(parents=True, exist_ok=True)
        os.environ[CACHE] = str(place)
    requests: SimpleQueue[bytes] = SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        for line in sys.stdin.buffer:
            requests.put(line)
        ended.set()
        requests.put(b"")

    def answer(content: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # standard input ends as well
            stream.write(base64.b64encode(content) + b"\n")
            stream.flush()

    threading.Thread(target=read, daemon=True).start()
    stream.flush()  # it is there
    while line := requests.get():
        asked = msgspec.json.decode(line, type=Request)
        if asked.task == worker_tasks.describe.__name__:
            answer(worker_tasks.describe())
        elif asked.task == worker_tasks.measure.__name__:
            answer(worker_tasks.measure(asked.content, ended.is_set))
        else:
            worker_tasks.forget(asked.content.decode())
            answer(b"")


if __name__ == "__main__":
    main()
