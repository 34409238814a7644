"""The processors on which the threads of a paused process continue."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def spread_threads(process: int, cpu: int | None) -> Iterator[None]:
    """Inside this context the main thread of ``process`` runs only on ``cpu``, its other threads only on others.

    With None nothing is changed.

    Linux may wake several threads on the same processor. If they wait for one another by spinning, each spins for its
    whole time slice of some milliseconds, although the other thread could run on another processor.
    """
    if cpu is None:
        yield
        return
    allowed: dict[int, set[int]] = {}
    for thread in _threads(process):
        with contextlib.suppress(OSError):  # the thread has ended
            allowed[thread] = os.sched_getaffinity(thread)
            here = {cpu} if thread == process else allowed[thread] - {cpu}
            if here & allowed[thread]:
                os.sched_setaffinity(thread, here & allowed[thread])
    try:
        yield
    finally:
        for thread, processors in allowed.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, processors)


def _threads(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path(f"/proc/{process}/task").iterdir()]
    return [process]
