"""Where the threads of a paused worker begin again, and who else may be spinning then."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from patience import LIMIT_S

from ganbench.machine.processes import spread_threads
from ganbench.verification.gate import norm

THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
input()
"""


@pytest.fixture
def threaded():
    """A process of two threads that wait."""
    with subprocess.Popen([sys.executable, "-c", THREADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin threads")
@pytest.mark.usefixtures("every_processor")
def test_threads_begin_apart_and_may_then_run_where_they_might(threaded):
    processors = os.sched_getaffinity(0)
    if len(processors) == 1:
        pytest.skip("there is one processor only")
    os.sched_setaffinity(threaded, processors)
    threads = [int(entry.name) for entry in Path(f"/proc/{threaded}/task").iterdir()]
    assert len(threads) == 2
    before = {thread: os.sched_getaffinity(thread) for thread in threads}
    cpu = max(processors)
    with spread_threads(threaded, cpu):
        for thread in threads:
            assert os.sched_getaffinity(thread) == ({cpu} if thread == threaded else before[thread] - {cpu})
    assert {thread: os.sched_getaffinity(thread) for thread in threads} == before


def test_where_no_processor_can_be_chosen_nothing_changes(threaded):
    with spread_threads(threaded, None):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin threads")
def test_a_process_that_has_ended_is_nobodys_fault():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with spread_threads(process.pid, 0):
        pass


def idle():
    """Whether no thread of this process computes."""
    before = time.process_time()
    time.sleep(0.05)
    return time.process_time() - before < 0.025


@pytest.mark.usefixtures("every_processor")
def test_the_gate_leaves_no_thread_spinning():
    """A thread of BLAS spins for some 100 ms after ``numpy.linalg.norm``, and disturbed PyTorch's next visit."""
    values = np.full((1024, 1024), 2.0)
    deadline = time.monotonic() + LIMIT_S
    while not idle():  # whatever else spins here
        assert time.monotonic() < deadline
    assert norm(values) == 2 * 1024
    assert idle()
