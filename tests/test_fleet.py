"""Fleets of real processes on this machine: what comes home, and what does not and why."""

import contextlib
import itertools
import re
import subprocess
import sys
import time

import psutil
import pytest
from fleets import (
    ODD,
    ONE,
    PRODUCTS,
    Cluster,
    fleet,
    kept,
    left_behind,
    running,
    spans,
    start_fleet,
    wait_for,
    write_plan,
)  # fmt: skip
from patience import LIMIT_S

from ganbench.fleet.worker_tasks import RUNS

pytestmark = pytest.mark.fleet
AHEAD_S = 5000


@pytest.fixture
def cluster(env):
    made = Cluster(env)
    yield made
    made.stop()


def test_a_local_fleet_measures_what_it_can_once(tmp_path, env):
    """Three workers here; two jobs, one of which is asked for twice; one that no machine can do."""
    models = tmp_path / "small.toml"
    models.write_text("generator = [4, 9]\ndiscriminator = [9, 1]\nbatch = 3\n")
    plan = write_plan(tmp_path, f"""
        {ONE}threads = [1]
        {ONE}on = "any"
        threads = [1]
        {ONE.replace('presets = ["tiny"]', 'models = ["small.toml"]')}
        {ONE}needs = ["h100"]
        dtypes = ["float64"]
    """)  # fmt: skip
    results = tmp_path / "results"
    before = fleet("plan", plan, "--cluster", "local", "--results", results, env=env)
    assert before.returncode == 0, before.stderr
    assert "needs h100" in before.stdout
    assert "it is not known how long" in before.stdout
    assert not results.exists()

    done = fleet("run", plan, "--cluster", "local", "--results", results, env=env)
    assert done.returncode == 0, done.stderr
    runs = kept(results)
    assert sorted((head["spec"]["name"], head["threads"]) for head, *_ in runs)[1] == ("tiny", 1)
    assert len(runs) == 2
    assert {head["machine"] for head, *_ in runs} == {path.name for path in results.iterdir()} - {"fleet"}
    assert not any("MALLOC_TRIM" in text for head, *_ in runs for text in head["environment"]["tuning"])
    assert left_behind(tmp_path) == []
    assert running(tmp_path) == []

    status = fleet("status", plan, "--results", results, env=env)
    assert "3 of 3 runs are done" in status.stdout
    again = fleet("run", plan, "--cluster", "local", "--results", results, env=env)
    assert "0 runs collected" in again.stderr
    assert len(kept(results)) == 2


def test_two_fleets_on_one_machine_do_not_overlap(tmp_path, env, cluster):
    cluster.start_worker("--no-nanny")
    plan = write_plan(tmp_path, PRODUCTS.format(largest=64))
    folders = [tmp_path / "one", tmp_path / "other"]
    kinds = [("--cluster", "local:2"), cluster.named]
    both = [
        start_fleet("run", plan, *kind, "--results", folder, env=env)
        for kind, folder in zip(kinds, folders, strict=True)
    ]
    said = [process.communicate(timeout=LIMIT_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    times = sorted(span for folder in folders for span in spans(kept(folder)))
    assert len(times) == 6
    assert all(one[1] <= other[0] + 0.02 for one, other in itertools.pairwise(times))


def test_one_results_folder_has_one_fleet(tmp_path, env, cluster):
    """Of two that begin together, one waits for workers, of which there are none, and the other is refused."""
    plan, results = write_plan(tmp_path, ONE), tmp_path / "results"
    both = [start_fleet("run", plan, *cluster.named, "--results", results, env=env) for _ in range(2)]
    wait_for(lambda: any(process.poll() is not None for process in both))
    refused, waiting = sorted(both, key=lambda process: process.poll() is None)
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()
    assert "another fleet is measuring into" in refused.communicate()[1]
    assert refused.returncode == 2


# No file of this process may grow beyond 3 kB: to its programs that is a disk that is full.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def old_ganbench(folder):
    """Return a folder that makes whoever has it on its path believe in an older version."""
    made = folder / "old" / "ganbench-0.1.9.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: ganbench\nVersion: 0.1.9\n")
    return str(made.parent)


def no_ganbench(folder):
    """Return a folder that hides ganbench."""
    made = folder / "none" / "ganbench"
    made.mkdir(parents=True)
    (made / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'ganbench'\")\n")
    return str(made.parent)


def test_odd_machines_are_told_and_the_others_measured(tmp_path, env, cluster):
    cluster.start_worker("--no-nanny", PYTHONPATH=old_ganbench(tmp_path))
    cluster.start_worker("--no-nanny", PYTHONPATH=no_ganbench(tmp_path))
    odd = {
        "clock": f"ODD_CLOCK_S={AHEAD_S}",
        "torchless": "ODD_LACKS=torch",
        "full": "ODD_FREE=1000000",
        "tagged": "ODD_X=",
    }
    for host, setting in odd.items():
        name, _, value = setting.partition("=")
        more = ("--resources", "fast=1") if host == "tagged" else ()
        cluster.start_worker("--no-nanny", *more, PYTHONPATH=ODD, ODD_HOST=host, **{name: value})
    plan = write_plan(tmp_path, f"""{ONE}
        {ONE.replace('["numpy"]', '["numpy", "torch"]')}
        {ONE.replace("tiny", "mnist-mlp")}needs = ["fast"]
    """)  # fmt: skip
    results = tmp_path / "results"
    began = time.monotonic()
    process = start_fleet("run", plan, *cluster.named, "--results", results, env=env)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "it has ganbench 0.1.9, but this machine has " in err
    assert "it has ended, or its ganbench is missing or has no fleet" in err
    # A clock is asked over a connection, and the answer is as exact as that is quick.
    ahead_s = int(re.search(r"its clock is (\d+) s ahead of this machine's", err)[1])
    assert abs(ahead_s - AHEAD_S) <= 1 + time.monotonic() - began
    assert "torch will be unavailable: it is not installed" in err
    assert "its disk is full: 1 MiB are free" in err
    runs = kept(results)
    machines = [head["machine"] for head, *_ in runs]
    assert len(set(machines)) == 3  # equal hardware, three hosts
    assert len(runs) == 3 * 2 + 1
    assert sum(line.get("status") == "unavailable" for lines in runs for line in lines) == 1
    (fast,) = (head["machine"] for head, *_ in runs if head["spec"]["name"] == "mnist-mlp")
    assert f"{fast} " in out
    # The names stay, whoever comes first next time.
    named = {path.name for path in results.iterdir()}
    assert set(machines) <= named
    again = fleet("run", plan, *cluster.named, "--results", results, env=env)
    assert "0 runs collected" in again.stderr
    assert {path.name for path in results.iterdir()} == named


def test_a_full_disk_in_mid_run_fails_that_job_and_no_other(tmp_path, env, cluster):
    command = [sys.executable, "-c", LIMITED, "-m", "distributed.cli.dask_worker", cluster.address, "--nthreads", "1",
               "--no-nanny", "--no-dashboard", "--memory-limit", "0"]  # fmt: skip
    full = {**env, "PYTHONPATH": ODD, "ODD_HOST": "full"}
    cluster.workers.append(
        subprocess.Popen(command, env=full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    )  # fmt: skip
    cluster.start_worker("--no-nanny")
    plan, results = write_plan(tmp_path, ONE), tmp_path / "results"
    done = fleet("run", plan, *cluster.named, "--results", results, env=env)
    assert done.returncode == 1
    assert "failed: " in done.stderr
    assert "set TMPDIR to a folder with room" in done.stderr
    assert len(kept(results)) == 1
    status = fleet("status", plan, "--results", results, env=env)
    assert "set TMPDIR to a folder with room" in " ".join(status.stdout.split())
    assert "1 of 2 runs are done; 1 to do" in status.stdout


def test_without_the_engine_the_extra_is_named(tmp_path, env):
    plan = write_plan(tmp_path, ONE)
    kind = ("--cluster", "dask:tcp://127.0.0.1:1", "--trust-all-users")
    told = fleet("run", plan, *kind, env={**env, "PYTHONPATH": ODD, "ODD_LACKS": "distributed"})
    assert told.returncode == 1
    assert ' needs distributed: pip install "ganbench[fleet]"' in told.stderr


def test_a_scheduler_that_is_not_there_or_dies_is_one_line(tmp_path, env, cluster):
    cluster.start_worker("--no-nanny")
    plan, results = write_plan(tmp_path, ONE.replace("rounds = 1", "rounds = 100")), tmp_path / "results"
    process = start_fleet("run", plan, *cluster.named, "--results", results, env=env)
    wait_for(lambda: "ganbench.fleet.child" in str(running(tmp_path)))
    cluster.scheduler.kill()
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    (line,) = err.strip().splitlines()
    assert line.startswith("ganbench: the scheduler does not answer any more")
    gone = fleet("run", plan, *cluster.named, "--results", results, env=env)
    assert gone.returncode == 2
    (line,) = gone.stderr.strip().splitlines()
    assert line.endswith("nobody listens there: is the scheduler running?")


def test_a_worker_that_is_killed_costs_nothing_else(tmp_path, env):
    """One while it starts, and one that measures: another worker of its machine goes on with the run."""
    plan, results = write_plan(tmp_path, ONE.replace("rounds = 1", "rounds = 12")), tmp_path / "results"
    process = start_fleet("run", plan, "--cluster", "local:3", "--results", results, env=env)
    workers = lambda: [one for one in psutil.Process(process.pid).children() if is_worker(one)]  # noqa: E731
    wait_for(lambda: [one.kill() for one in workers()[:1]])
    rounds = lambda: sum(path.read_text().count('"round":') for path in tmp_path.glob(f"cache/fleet/*/*/run/{RUNS}"))  # noqa: E731
    wait_for(lambda: rounds() > 2)
    (busy,) = (one for one in workers() if any("ganbench.fleet.child" in child.cmdline() for child in one.children()))
    busy.kill()
    _, err = process.communicate(timeout=LIMIT_S)
    assert re.search("no job goes to worker [123]: it ended with code -9", err)
    assert re.search("no job goes to worker [123]: the connection was lost", err)
    assert process.returncode == 1, err  # not all that was asked for could be had
    (run,) = kept(results)
    assert [line["type"] for line in run].count("resumed") == 1
    assert run[-1]["rounds"] == 12


def is_worker(process):
    """Return whether a process has begun to be a worker."""
    with contextlib.suppress(psutil.Error):
        return "ganbench.fleet.serve" in process.cmdline()
    return False


# What a worker sends is data


LIAR = """
import json, os, sys
import msgspec
from ganbench.fleet import worker_tasks

class Code:
    def __reduce__(self):
        return os.system, ("tr '\\\\0' ' ' < /proc/$PPID/cmdline >> " + os.environ["LIE_MARK"],)

def lie(content):
    order = msgspec.msgpack.decode(content, type=worker_tasks.Order)
    good = msgspec.msgpack.decode(worker_tasks.real(content), type=worker_tasks.Outcome)
    head, rest = good.run.split(b"\\n", 1)
    kind = os.environ["LIES"].split()[worker_tasks.places.setdefault(order.place, len(worker_tasks.places))]
    if kind == "pickle":
        return Code()
    if kind == "error":
        raise RuntimeError(Code())
    if kind == "name":
        head = json.dumps(json.loads(head) | {"machine": "../../outside"}).encode()
    if kind == "other":
        head = json.dumps(json.loads(head) | {"machine": "somebody-else"}).encode()
    if kind == "question":
        head = json.dumps(json.loads(head) | {"dtype": "float64"}).encode()
    run = head + b"\\n" + rest
    if kind == "torn":
        run = run[:-20]
    if kind == "rubbish":
        run = b"\\x80\\x04 no run at all"
    return msgspec.msgpack.encode(worker_tasks.Outcome(0, run, ""))

def describe(dask_worker):
    raise RuntimeError(Code())

if "LIES" not in os.environ:
    worker_tasks.describe = describe
if not hasattr(worker_tasks, "real"):  # this file is run more than once
    worker_tasks.real, worker_tasks.measure, worker_tasks.places = worker_tasks.measure, lie, {}
lie.__module__, lie.__qualname__, lie.__name__ = "ganbench.fleet.worker_tasks", "measure", "measure"
"""


LIES = {
    "pickle": "the worker sent a pickle instead of plain data",
    "error": "its worker died several times, or raised an error, which is not read here",
    "name": "is not a valid name of a file",
    "other": "its file names another machine, somebody-else",
    "question": "its settings are not those of its job",
    "torn": "its last line is incomplete",
    "rubbish": "its last line is incomplete",
}


def test_what_a_worker_sends_is_data_and_checked(tmp_path, env, cluster):
    """A job for each lie."""
    liar, mark = tmp_path / "liar.py", tmp_path / "mark"
    liar.write_text(LIAR)
    cluster.start_worker("--no-nanny", "--preload", str(liar), LIES=" ".join(LIES), LIE_MARK=str(mark))
    cluster.start_worker("--no-nanny", "--preload", str(liar), LIE_MARK=str(mark))
    plan, results = write_plan(tmp_path, f'{ONE}sweep = "batch=1..64"\n'), tmp_path / "results"
    done = fleet("run", plan, *cluster.named, "--results", results, env=env)
    assert done.returncode == 1, done.stderr
    assert [told for told in LIES.values() if told not in done.stderr] == []
    assert "no job goes to tcp://127.0.0.1:" in done.stderr
    assert kept(results) == []
    assert not mark.exists() or " fleet run " not in mark.read_text()  # the worker may open what is its own
