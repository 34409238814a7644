"""Fleets on hosts over a real SSH, and on nodes of a real SLURM, both on loopback; and what their page says."""

import contextlib
import getpass
import os
import re
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import psutil
import pytest
from fleets import (
    GANBENCH,
    ODD,
    ONE,
    fleet,
    kept,
    left_behind,
    running,
    spans,
    start_fleet,
    wait_for,
    write_plan,
)  # fmt: skip
from hosts import asked, slurm, ssh_host, system
from msgspec.structs import replace
from patience import LIMIT_S

from ganbench.fleet import scheduler
from ganbench.fleet.clusters import Opened
from ganbench.fleet.journal import Journal
from ganbench.fleet.plan import jobs_of, read_plan
from ganbench.fleet.worker_tasks import RUNS
from ganbench.gan import preset
from ganbench.model_file import as_toml, read_spec

pytestmark = pytest.mark.fleet
needs_sshd = pytest.mark.skipif(system("sshd") is None, reason="needs sshd: apt install openssh-server")


@needs_sshd
def test_hosts_over_ssh(tmp_path, env):
    """Named in every way; one on which nothing listens; one whose key is unknown; a Python that is not there.

    No host has dask, nor a file of ours.
    """
    own = {name: env[name] for name in ("TMPDIR", "GANBENCH_LOCK", "OMP_NUM_THREADS")} | {
        "PYTHONPATH": ODD,
        "ODD_LACKS": "distributed",
    }
    results, place = tmp_path / "results", tmp_path / "a place"
    with ssh_host(tmp_path, own) as (port, found):
        env = {**env, **found}
        user, away = getpass.getuser(), "is not there"
        python = tmp_path / "python there"
        python.write_text(f'#!/bin/sh\necho noise\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        plan = write_plan(tmp_path, f'''
            {ONE}
            [ssh]
            folder = "{place}"
            python = "{python}"
            [ssh.hosts.near]
            [ssh.hosts."{user}@near:{port}"]
            python = "/no/python {away}"
        ''')  # fmt: skip
        done = fleet("run", plan, "--cluster", "ssh:near,gone,stranger", "--results", results, env=env)
        assert done.returncode == 1, done.stderr  # not all that was asked for could be had
        assert re.search(r"no job goes to gone: .*Connection refused \(try: ssh gone ", done.stderr)
        assert re.search(r"no job goes to stranger: Host key verification failed.* \(try: ssh stranger ", done.stderr)
        (run,) = kept(results)
        assert run[-1]["type"] == "end"
        assert list(place.glob("fleet/*")) != []
        assert left_behind(tmp_path) == []

        text = "[::1]" if has_ipv6(port) else "127.0.0.1"
        hosts = f"near,{user}@near,{user}@127.0.0.1:{port},{text}:{port}"
        every = fleet("plan", plan, "--cluster", f"ssh:{hosts}", "--results", results, env=env)
        assert every.returncode == 0, every.stderr
        assert "no job goes to" not in every.stderr
        assert "1 of 1 runs are done" in every.stdout
        of_plan = fleet("plan", plan, "--cluster", "ssh", "--results", results, env=env)
        (line,) = of_plan.stderr.strip().splitlines()
        assert away in line
        assert line.endswith(f"(try: ssh -l {user} -p {port} near '/no/python {away}' -m ganbench.cli --version)")
        assert "1 of 1 runs are done" in of_plan.stdout
    wait_for(lambda: not running(tmp_path))


def has_ipv6(port):
    with contextlib.suppress(OSError), socket.create_connection(("::1", port)):
        return True
    return False


@needs_sshd
def test_what_was_measured_over_ssh_is_kept(tmp_path, env):
    """The connection is cut, and made again; the user presses Ctrl-C: the run goes on where it was."""
    own = {name: env[name] for name in ("TMPDIR", "GANBENCH_LOCK", "GANBENCH_CACHE", "OMP_NUM_THREADS")}
    plan, results = write_plan(tmp_path, ONE.replace("rounds = 1", "rounds = 40")), tmp_path / "results"
    rounds = lambda: sum(path.read_text().count('"round":') for path in tmp_path.glob("cache/fleet/*/*/run/" + RUNS))  # noqa: E731
    with ssh_host(tmp_path, own) as (_, found):
        command = ("run", plan, "--cluster", "ssh:near", "--results", results)
        env = {**env, **found}
        process = start_fleet(*command, env=env)
        for _ in range(2):
            before = rounds()
            wait_for(lambda before=before: rounds() > before + 2)
            daemon = psutil.Process(int((tmp_path / "ssh" / "pid").read_text()))
            for connection in daemon.children():
                connection.kill()
        journal = results / "fleet" / "journal.jsonl"
        wait_for(lambda: journal.read_text().count("the connection was lost") == 2)
        before = rounds()
        wait_for(lambda: rounds() > before + 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 130
        assert err.count("no job goes to near: the connection was lost (") == 2
        assert "the same command continues, also with runs that the machines have begun" in err
        assert kept(results) == []
        wait_for(lambda: not running(tmp_path))
        done = fleet(*command, env=env)
        assert done.returncode == 0, done.stderr
    (run,) = kept(results)
    assert [line["type"] for line in run].count("resumed") == 3
    assert run[-1]["rounds"] == 40
    assert left_behind(tmp_path) == []


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    if os.getuid() != 0 or None in map(system, ("slurmctld", "slurmd", "munged")):
        pytest.skip("needs SLURM and root: apt install slurm-wlm munge")
    with slurm(tmp_path_factory.mktemp("nodes")) as settings:
        yield settings


def test_nodes_of_slurm(tmp_path, env, tls, nodes):
    """Three are asked for of two: the third waits in the queue until one is given back."""
    env = {**env, **nodes}
    plan, results = tmp_path / "plan.toml", tmp_path / "results"
    odd = f"export PYTHONPATH={ODD} ODD_HOST=$SLURMD_NODENAME"  # two hosts, though the hardware is one
    text = f'{ONE}[slurm]\nnodes = 3\nmemory = "1GB"\nprologue = ["{odd}"]\n'
    plan.write_text(text)
    running_fleet = start_fleet("run", plan, "--cluster", "slurm", *tls, "--results", results, env=env)
    wait_for(lambda: b"PENDING" in asked(nodes, "squeue", "-h", "-o", "%T"))
    _, err = running_fleet.communicate(timeout=LIMIT_S)
    assert running_fleet.returncode == 0, err
    runs = kept(results)
    assert len({head["machine"] for head, *_ in runs}) == len(runs) == 2
    (_, first_ended), (second_began, _) = spans(runs)
    assert first_ended <= second_began + 0.02  # they are one machine
    wait_for(lambda: not asked(nodes, "squeue", "-h"))
    assert running(tmp_path) == []

    plan.write_text(text.replace("nodes = 3", 'nodes = 2\npartition = "nowhere"'))
    refused = fleet("run", plan, "--cluster", "slurm", *tls, "--results", results, env=env)
    assert refused.returncode == 2
    assert refused.stderr.count("invalid partition specified: nowhere") == 2


def test_slurm_is_left_when_the_client_is_killed(tmp_path, env, tls, nodes):
    plan, results = tmp_path / "plan.toml", tmp_path / "results"
    plan.write_text(ONE.replace("rounds = 1", "rounds = 100") + '[slurm]\nmemory = "1GB"\n')
    client = start_fleet("run", plan, "--cluster", "slurm", *tls, "--results", results, env={**env, **nodes})
    wait_for(lambda: "ganbench.fleet.child" in str(running(tmp_path)))
    client.kill()
    client.communicate()
    wait_for(lambda: not running(tmp_path))
    wait_for(lambda: not asked(nodes, "squeue", "-h"))


def test_a_job_array_of_slurm(tmp_path, env, nodes):
    """As docs/fleet.md says: written, submitted, and taken in."""
    env = {**env, **nodes, "PATH": f"{Path(GANBENCH[0]).parent}:{env['PATH']}"}
    small = tmp_path / "small.toml"
    small.write_text("generator = [4, 9]\ndiscriminator = [9, 1]\nbatch = 3\n")
    plan = write_plan(tmp_path, ONE + ONE.replace('presets = ["tiny"]', f'models = ["{small.name}"]'))
    script = tmp_path / "array.sh"
    script.write_text(fleet("script", plan, "--slurm", env=env).stdout)
    subprocess.run(["sbatch", script], env=env, cwd=tmp_path, check=True)
    wait_for(lambda: not asked(nodes, "squeue", "-h"))
    taken = subprocess.run(
        [*GANBENCH, "results", "import", tmp_path / "ganbench-array", "--results", tmp_path / "results"],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert taken.returncode == 0, taken.stderr
    assert sorted(head["spec"]["name"] for head, *_ in kept(tmp_path / "results")) == ["small", "tiny"]


def test_the_plan_in_the_documents_is_one(tmp_path, env):
    text = (Path(__file__).parents[1] / "docs" / "fleet.md").read_text()
    plan = write_plan(tmp_path, "\n".join(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)))
    shown = fleet("plan", plan, "--results", tmp_path / "results", env=env)
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 2 + 5  # presets, values of the sweep
    written = fleet("script", plan, "--slurm", env=env)
    assert written.returncode == 2
    assert "the matrices of this plan need different machines (nothing; gpu)" in written.stderr


def test_a_model_goes_to_a_machine_with_the_name_it_has(tmp_path):
    """TOML knows no surrogates, as JSON writes letters beyond the basic plane."""
    (tmp_path / "model.toml").write_text(as_toml(replace(preset("tiny"), name="panda-🐼")), encoding="utf-8")
    assert read_spec(tmp_path / "model.toml").name == "panda-🐼"


def test_workers_that_never_come_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE_S", 0.1)
    nobody = types.SimpleNamespace(nthreads=dict)
    there, said = Opened(nobody, lambda: 2, {}, rented=False), []
    plan = read_plan(write_plan(tmp_path, ONE))
    journal = Journal(tmp_path, kept=False)
    conductor = scheduler.Conductor(there, jobs_of(plan, tmp_path), tmp_path, journal, said.append, lambda _: None)
    assert conductor.run() == []
    assert said == ["2 workers have not come within 0.1 s: can they reach the scheduler?"]
    assert conductor.missing == 2


def test_a_machine_that_cannot_be_used_is_no_success(tmp_path, env):
    plan, no_room = write_plan(tmp_path, ONE), {**env, "GANBENCH_CACHE": "/dev/null/nowhere"}
    done = fleet("run", plan, "--cluster", "local:1", "--results", tmp_path / "r", env=no_room)
    assert done.returncode == 1
    assert "no job goes there: it cannot write to its cache folder" in done.stderr
