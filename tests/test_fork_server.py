"""Workers that are forked: the same as others, but for the import."""

import contextlib
import os
import signal
import sys
import tempfile

import psutil
import pytest
from patience import LIMIT_S

import ganbench
from ganbench import registry
from ganbench.gan import preset
from ganbench.machine.processes import adopting
from ganbench.measure import protocol
from ganbench.measure.fork_server import ForkServer, ForkServerLostError, can_fork
from ganbench.measure.plan import make_plan
from ganbench.measure.process import Worker, WorkerLostError, child_environment, fork_servers
from ganbench.results.records import WorkerRecord

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only"),
]


@pytest.fixture
def server():
    with adopting(), ForkServer(registry.parse_target("numpy"), [], child_environment({}, 1)) as made:
        yield made


@pytest.fixture
def worker(server, tmp_path):
    plan = make_plan(preset("tiny"), backends="numpy")
    found = Worker(plan, plan.targets[0], str(tmp_path), server)
    yield found
    found.stop()


def test_all_rounds_fork_and_tell_what_the_import_took():
    run = ganbench.compare("numpy,torch", preset="tiny", ops=["matmul"], rounds=2, results=None)
    found = [record for record in run.records if isinstance(record, WorkerRecord)]
    assert [record.forked for record in found] == [True] * 6  # the control is one of three in each round
    assert all(record.import_s > 0.01 and record.import_bytes > 2**24 for record in found)
    assert all(len(seconds) == 2 for seconds in (run.visits("matmul", name) for name in ("numpy", "torch")))
    assert run.workers["torch"].import_s > 0.1
    assert not psutil.Process().children(recursive=True) or all(
        "ganbench.machine.guard" in " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)
    )


def test_a_forked_worker_is_a_child_of_ours_in_a_session_of_its_own(worker):
    assert worker.forked
    assert worker.wait().framework_version == registry.version("numpy")
    pid = worker._process.pid
    assert psutil.Process(pid).ppid() == os.getpid()
    assert os.getsid(pid) == pid
    worker.stop()
    assert not psutil.pid_exists(pid)


def test_a_forked_worker_can_be_killed_as_soon_as_its_number_is_known(server):
    """Until it has a session of its own, a kill would miss it, and who waits for its end would wait for ever."""
    with tempfile.TemporaryFile() as errors:
        for _ in range(20):
            forked = server.fork(errors)
            with forked.stdin, forked.stdout:
                os.killpg(forked.pid, signal.SIGKILL)
                assert forked.wait(LIMIT_S) == -signal.SIGKILL


def test_how_a_forked_worker_died_is_told(worker):
    worker.wait()
    os.kill(worker._process.pid, signal.SIGSEGV)
    with pytest.raises(WorkerLostError, match="died of SIGSEGV"):
        worker.ask(protocol.FindCeilings(), protocol.CeilingVisit)


def test_a_fork_server_that_is_gone_costs_nothing_but_time(server, tmp_path):
    server._process.kill()
    server._process.wait()
    with tempfile.TemporaryFile() as errors, pytest.raises(ForkServerLostError):
        server.fork(errors)
    plan = make_plan(preset("tiny"), backends="numpy")
    fresh = Worker(plan, plan.targets[0], str(tmp_path), server)
    assert not fresh.forked
    assert fresh.wait().import_s > 0
    fresh.stop()


def test_a_fork_server_that_answered_too_late_is_not_asked_again(server):
    os.kill(server._process.pid, signal.SIGSTOP)
    server._socket.settimeout(0.2)
    with tempfile.TemporaryFile() as errors:
        for _ in range(2):
            with pytest.raises(ForkServerLostError):
                server.fork(errors)
    assert server._process.wait(LIMIT_S) == -signal.SIGKILL


def test_who_may_be_forked():
    label = registry.parse_target
    assert all(can_fork(label(name)) for name in ("numpy", "torch.compile", "jax.scan"))
    assert not any(can_fork(label(name)) for name in ("torch@cuda", "cupy"))


def test_fork_servers_end_with_the_run(tmp_path):
    with contextlib.ExitStack() as stack:
        made = fork_servers(make_plan(preset("tiny"), backends="numpy,numpy.inplace"), str(tmp_path), stack)
        started = [one._process for one in made.values()]
        assert sorted(made) == ["numpy", "numpy.inplace"]
        assert [process.poll() for process in started] == [None, None]
    assert all(process.returncode is not None for process in started), "nobody waited for their end"
