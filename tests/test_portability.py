"""Systems without pausing, pinning, /proc and locks: a run still works, and says what it could not control."""

import json
import os
import subprocess

import pytest
from commands import hurried

from ganbench.results.store import read_run

pytestmark = pytest.mark.workers

# What macOS and Windows lack, taken away from every process of a run before it does anything else.
POORER = """
import os, pathlib, signal, sys
import psutil  # has a form for every system; that of Linux needs what is taken away now
if hasattr(os, "sched_getaffinity"):  # two threads on the one processor of a test would spin for minutes
    psutil.cpu_count = lambda logical=True, count=len(os.sched_getaffinity(0)): count
for name in ("killpg", "sched_setaffinity", "sched_getaffinity", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGSTOP", "SIGCONT", "SIGHUP"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
def absent(call):
    def wrapper(self, *args, **kwargs):
        if str(self).startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return call(self, *args, **kwargs)
    return wrapper
for name in ("read_text", "read_bytes", "write_text", "open"):
    setattr(pathlib.Path, name, absent(getattr(pathlib.Path, name)))
"""
MISSING = (
    "idle workers could not be paused",
    "workers could not be pinned to processors",
    "another run at the same time would have gone unnoticed",
    "the load of the machine could not be read",
    "the peak of a process's memory could not be reset",
)


def test_a_poorer_system_measures_and_says_what_it_could_not_control(tmp_path, outside):
    (tmp_path / "sitecustomize.py").write_text(POORER)
    environment = {**outside, "PYTHONPATH": os.pathsep.join([str(tmp_path), outside["PYTHONPATH"]])}

    def ganbench(*arguments):
        return subprocess.run([*hurried(ceilings=True), *arguments], env=environment, capture_output=True, text=True)

    done = ganbench(
        "compare", "--preset", "tiny", "--rounds", "1", "--backends", "numpy,torch,outside.killed",
        "--ops", "matmul,gan_iteration", "--results", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "not controlled on this system: " in text
    for words in MISSING:
        assert words in text
    (file,) = tmp_path.glob("*/compare/*.jsonl")
    header, *records = read_run(file)
    assert len(header.environment["uncontrolled"]) == len(MISSING)
    ok = {(row.target, row.operation) for row in records if getattr(row, "status", "") == "ok"}
    assert {(target, "gan_iteration") for target in ("numpy", "torch")} < ok

    shown = ganbench("results", "show", str(file), "--format", "markdown")
    assert MISSING[0] in shown.stdout
    more = ganbench("compare", "--resume", str(file), "--rounds", "2", "--format", "json")
    assert more.returncode == 0, more.stderr
    assert {row["rounds"] for row in json.loads(more.stdout) if row["status"] == "ok"} == {2}
    assert ganbench("doctor").returncode == 0
