"""On which processors the threads of a paused process begin again."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def spread_threads(process: int, cpu: int | None) -> Iterator[None]:
    """While it lasts, the main thread of ``process`` may run only on ``cpu``, and its other threads only elsewhere.

    With None all may run where they might.

    Threads that are woken together may be put on one processor. Where they wait for one another by spinning, each
    then uses up its whole time slice, some milliseconds, while the other could have gone on next door.
    """
    if cpu is None:
        yield
        return
    allowed: dict[int, set[int]] = {}
    for thread in _threads(process):
        with contextlib.suppress(OSError):  # it has ended
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
