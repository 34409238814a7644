"""Two workers (`make test`): each, and all that it starts, keeps to processors of its own.

Threads that spin while they wait for one another would otherwise make whatever the other worker does many times slower.
OpenBLAS counts processors when NumPy is imported, so this comes first.
"""

import os
import sys

PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

if PROCESSORS and (name := os.environ.get("PYTEST_XDIST_WORKER")):
    assert "numpy" not in sys.modules, "NumPy has counted all processors already"
    number, workers = int(name.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.sched_setaffinity(0, PROCESSORS[number::workers] or PROCESSORS)
