"""Fleets of real dask processes on loopback: a scheduler, workers, and ``ganbench fleet`` as a process of its own."""

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from patience import LIMIT_S

GANBENCH = (sys.executable, "-m", "ganbench.cli")
PRODUCTS = """
[[matrix]]
backends = ["numpy"]
sweep = "n=16..{largest}"
rounds = 1
"""
ONE = """
[[matrix]]
backends = ["numpy"]
presets = ["tiny"]
ops = ["matmul"]
rounds = 1
"""
ODD = str(Path(__file__).parent / "odd")
QUIET = ("--no-dashboard",)


def environment(folder, **more):
    """Return an environment in which everything of a fleet lies below ``folder``, its lock too.

    Ceilings are there already: every run on a busy machine would find them anew.
    """
    made = {"TMPDIR": str(folder / "temporary"), "GANBENCH_CACHE": str(folder / "cache"), **more}
    made["GANBENCH_LOCK"] = made["TMPDIR"]  # as machines have
    for name in ("TMPDIR", "GANBENCH_CACHE"):
        Path(made[name]).mkdir(parents=True, exist_ok=True)
    for file in ceilings():
        shutil.copy(file, made["GANBENCH_CACHE"])
    return {**os.environ, "OMP_NUM_THREADS": "1", **made}


@functools.cache
def ceilings():
    """Return the files with the ceilings that a run of NumPy keeps for others; none where the machine is busy."""
    results = tempfile.mkdtemp(prefix="ceilings")
    command = [*GANBENCH, "compare", "--backends", "numpy", "--preset", "tiny", "--ops", "matmul", "--rounds", "1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--results", results], env=env, check=True, capture_output=True, timeout=LIMIT_S)
    return list(Path(os.environ["GANBENCH_CACHE"]).glob("ceilings-*.json"))


def certificates(folder):
    """Make the files of docs/fleet-security.md as it says; return the options that name them."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=fleet -keyout fleet.key -out fleet.crt"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    cert, key = str(folder / "fleet.crt"), str(folder / "fleet.key")
    return "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key


def write_plan(folder, text):
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def fleet(*arguments, env, timeout=LIMIT_S):
    """Run ``ganbench fleet``; return the finished process."""
    command = [*GANBENCH, "fleet", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)


def start_fleet(*arguments, env):
    command = [*GANBENCH, "fleet", *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Cluster:
    """Somebody's own dask cluster: a scheduler, and workers that are started one by one."""

    def __init__(self, env, tls=()):
        self.env, self.tls = env, tls
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{self.port}"
        self.named = ("--cluster", f"dask:{self.address}", *(() if tls else ("--trust-all-users",)))
        self.workers = []
        self.start_scheduler()

    def _start(self, program, *arguments, **more):
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, *QUIET, *self.tls],
            env={**self.env, **more}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.env["TMPDIR"],  # not the repository, whose ganbench would come first
        )  # fmt: skip

    def start_scheduler(self):
        self.scheduler = self._start("scheduler", "--host", self.address)
        wait_for(lambda: answers(self.port))

    def start_worker(self, *arguments, **more):
        self.workers.append(
            self._start("worker", self.address, "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "100",
                        *arguments, **more)
        )  # fmt: skip
        return self.workers[-1]

    def stop(self):
        for process in [*self.workers, self.scheduler]:
            kill_tree(process.pid)
            process.wait()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(happened, seconds=LIMIT_S):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_tree(pid):
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                one.kill()


def running(folder):
    """Return the processes of ganbench whose temporary folder is below ``folder``."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR", "").startswith(str(folder)) and "ganbench." in str(process.cmdline()):
                found.append(process.cmdline())
    return found


def kept(results):
    """Return the lines of every run file, in the order of their ids."""
    files = sorted(results.glob("*/compare/*.jsonl"), key=lambda path: path.stem)
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


def spans(runs):
    """Return when each run began and ended, in seconds since 1970; ids are exact to 15 µs."""
    found = []
    for head, *_, end in runs:
        moment, _, part = head["run_id"].partition("-")
        began = datetime.strptime(moment + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp() + int(part, 16) / 65_536
        found.append((began, began + end["seconds"]))
    return sorted(found)


def left_behind(folder):
    """Return what must not be there when no fleet runs: half files, kept jobs, private folders."""
    return [*folder.rglob("*.new"), *folder.glob("cache/fleet/*/*")]
