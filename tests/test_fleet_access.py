"""Who can have code run by a fleet: on this machine its owner alone, over a network who has its files of TLS."""

import contextlib
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from fleets import ONE, Cluster, certificates, fleet, kept, running, start_fleet, wait_for, write_plan

pytestmark = pytest.mark.fleet


def test_a_cluster_with_tls_is_entered_with_its_files_alone(tmp_path, env, tls):
    cluster = Cluster(env, ("--tls-ca-file", *tls[1:]))
    try:
        cluster.start_worker("--no-nanny")
        plan, results = write_plan(tmp_path, ONE), tmp_path / "results"
        command = ("run", plan, *cluster.named, "--results", results)
        refused = fleet(*command, env=env)
        assert refused.returncode == 2
        assert "files of TLS with --tls-ca, --tls-cert and --tls-key" in refused.stderr
        (tmp_path / "others").mkdir()
        refused = fleet(*command, *certificates(tmp_path / "others"), env=env)
        assert refused.returncode == 2
        (line,) = refused.stderr.strip().splitlines()
        assert "its TLS does not fit the files of --tls-ca, --tls-cert, --tls-key" in line
        done = fleet(*command, *tls, env=env)
        assert done.returncode == 0, done.stderr
        assert len(kept(results)) == 1
    finally:
        cluster.stop()


# Another user: asks whoever listens on these ports to run a function; without TLS, and with a certificate of its own.
STRANGER = """
import asyncio, json, os, sys
from distributed import Security
from distributed.comm import connect
from distributed.protocol.pickle import dumps
os.setgid(65534), os.setuid(65534)

async def ask(scheme, security, port, op):
    try:
        options = security.get_connection_args("client")
        comm = await connect(f"{scheme}://127.0.0.1:{port}", timeout=5, **options)
        try:
            await comm.write({"op": op, "function": dumps(os.getuid), "args": dumps(()), "kwargs": dumps({})})
            answer = await asyncio.wait_for(comm.read(), 5)
        finally:
            comm.abort()
        return answer.get("status") == "OK" and answer["result"]
    except Exception:
        return None

async def main():
    ways = ("tcp", Security()), ("tls", Security.temporary())
    asked = [ask(*way, port, op) for way in ways for port in sys.argv[1:] for op in ("run", "run_function")]
    tasks = [asyncio.create_task(one) for one in asked]
    await asyncio.wait(tasks, timeout=20)
    print(json.dumps([task.result() if task.done() else None for task in tasks]), flush=True)
    os._exit(0)  # what dask has begun may not end

asyncio.run(main())
"""


def ports(*pids):
    """Return the ports on which these processes and all below them listen."""
    each = [one for pid in pids for one in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    return sorted({str(at.laddr.port) for one in each for at in one.net_connections("inet") if at.status == "LISTEN"})


def as_stranger(*listening):
    """Return as whom another user had code run, for each attempt; None: it was not let in."""
    told = subprocess.run([sys.executable, "-c", STRANGER, *listening], capture_output=True, text=True, check=True)
    return json.loads(told.stdout)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_another_user_of_the_machine_is_not_let_in(tmp_path, env, tls):
    """Without TLS it is let in, by the scheduler, the worker and its nanny: so the others would be found out."""
    for secured, let_in in ((("--tls-ca-file", *tls[1:]), 0), ((), 3)):
        cluster = Cluster(env, secured)
        try:
            cluster.start_worker()
            pids = cluster.scheduler.pid, cluster.workers[0].pid
            wait_for(lambda pids=pids: len(ports(*pids)) >= 4)  # each process, and pages of HTTP
            answers = as_stranger(*ports(*pids))
            assert len(answers) >= 3 * 4
            assert [answer for answer in answers if answer is not None] == [0] * let_in
        finally:
            cluster.stop()


def test_a_fleet_on_this_machine_listens_nowhere(tmp_path, env):
    """There is no port on which another user could ask for anything."""
    plan, results = write_plan(tmp_path, ONE.replace("rounds = 1", "rounds = 3")), tmp_path / "results"
    process = start_fleet("run", plan, "--cluster", "local:2", "--results", results, env=env)
    wait_for(lambda: "ganbench.fleet.child" in str(running(tmp_path)))
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            assert ports(process.pid) == []
        time.sleep(0.2)
    assert process.returncode == 0, process.communicate()[1]
    process.communicate()
    assert len(kept(results)) == 1


@pytest.mark.parametrize(
    "kind", ["dask:tcp://10.0.0.1:8786", "dask:tcp://127.0.0.1:8786", "slurm", "dask:tls://10.0.0.1:8786"]
)
def test_no_port_is_used_without_tls(tmp_path, env, kind):
    done = fleet("run", write_plan(tmp_path, ONE), "--cluster", kind, env=env)
    assert done.returncode == 2
    assert "refused: " in done.stderr
    assert "TLS" in done.stderr


@pytest.mark.parametrize(
    "kind",
    [
        "locale",
        "local:0",
        "ssh:-oProxyCommand=x",
        "dask:127.0.0.1",
        "dask:tcp://x",
        "dask:tls://[::::]:1",
        "dask:tls://x:65536",
    ],
)
def test_a_cluster_that_cannot_be_is_named_with_what_can(tmp_path, env, kind):
    done = fleet("run", write_plan(tmp_path, ONE), "--cluster", kind, env=env)
    assert done.returncode == 2
    assert "is not valid" in done.stderr
