"""Fleets on hosts over a real SSH, and on nodes of a real SLURM, both on loopback."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from fleets import (
    GANBENCH,
    ODD,
    ONE,
    certificates,
    environment,
    fleet,
    kept,
    running,
    spans,
    start_fleet,
    wait_for,
    write_plan,
)  # fmt: skip
from hosts import asked, slurm, ssh_host, system

pytestmark = pytest.mark.slow


@pytest.fixture
def env(tmp_path):
    return environment(tmp_path)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.skipif(system("sshd") is None, reason="needs sshd: apt install openssh-server")
def test_hosts_over_ssh(tmp_path, env, tls):
    """A host; one on which nothing listens; one whose key is unknown; an interpreter that is not there."""
    own = {name: env[name] for name in ("TMPDIR", "GANBENCH_CACHE", "OMP_NUM_THREADS")}
    results = tmp_path / "results"
    with ssh_host(tmp_path, own) as home:
        env = {**env, "HOME": home}
        plan = write_plan(tmp_path, ONE)
        done = fleet("run", plan, "--cluster", "ssh:near,gone,stranger", *tls, "--results", results, env=env)
        assert done.returncode == 1, done.stderr  # not all that was asked for could be had
        assert re.search("no job goes to gone: .*Connect call failed", done.stderr)
        assert "no job goes to stranger: Host key is not trusted for host 127.0.0.2 (try: ssh stranger)" in done.stderr
        assert len(kept(results)) == 1
        first = fleet("run", plan, "--cluster", "ssh:gone,near", *tls, "--results", results, env=env)
        assert first.returncode == 2
        assert "cannot reach the cluster 'ssh:gone,near'" in first.stderr
        plan = write_plan(tmp_path, f'{ONE}\n[ssh]\npython = "/no/python"\n')
        other = fleet("run", plan, "--cluster", "ssh:near", *tls, "--results", results, env=env)
        assert other.returncode == 2
        assert "/no/python" in other.stderr
    wait_for(lambda: not running(tmp_path))


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
    _, err = running_fleet.communicate(timeout=200)
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
    wait_for(lambda: not asked(nodes, "squeue", "-h"), seconds=100)


def test_a_job_array_of_slurm(tmp_path, env, nodes):
    """As docs/fleet.md says: written, submitted, and taken in."""
    env = {**env, **nodes, "PATH": f"{Path(GANBENCH[0]).parent}:{env['PATH']}"}
    small = tmp_path / "small.toml"
    small.write_text("generator = [4, 9]\ndiscriminator = [9, 1]\nbatch = 3\n")
    plan = write_plan(tmp_path, ONE + ONE.replace('presets = ["tiny"]', f'models = ["{small.name}"]'))
    script = tmp_path / "array.sh"
    script.write_text(fleet("script", plan, "--slurm", env=env).stdout)
    subprocess.run(["sbatch", script], env=env, cwd=tmp_path, check=True)
    wait_for(lambda: not asked(nodes, "squeue", "-h"), seconds=100)
    taken = subprocess.run(
        [*GANBENCH, "results", "import", tmp_path / "ganbench-array", "--results", tmp_path / "results"],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert taken.returncode == 0, taken.stderr
    assert sorted(head["spec"]["name"] for head, *_ in kept(tmp_path / "results")) == ["small", "tiny"]
