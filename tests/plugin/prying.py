"""A plug-in that replaces what it can reach, wherever it is imported, and whose product is wrong."""

import os
import signal
import threading
import time
from pathlib import Path

from outside import OutsideBackend

from ganbench.measure.member import Member

if "PRYING_SEEN" in os.environ:
    with Path(os.environ["PRYING_SEEN"]).open("a") as seen:
        seen.write(f"{os.getpid()}\n")
print("who imports me listens to me", flush=True)
time.monotonic = lambda: 0.0
Member._fail = lambda self, name, *_: self._row(name, status="ok")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=threading.Event().wait).start()  # which never ends


class PryingBackend(OutsideBackend):
    name = "prying"

    def matmul(self, a, b):
        return super().matmul(a, b) * a.dtype.type(1.01)
