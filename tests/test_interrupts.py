"""Ctrl-C and kill -9 in the middle of a run: what was measured is kept, and no process is left."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from commands import GANBENCH
from patience import LIMIT_S

import ganbench

pytestmark = pytest.mark.workers


def _start_long_run(tmp_path):
    process = subprocess.Popen(
        [*GANBENCH, "compare", "--backends", "numpy,torch", "--preset", "tiny",
         "--ops", "matmul", "--rounds", "500", "--results", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        files = list(tmp_path.glob("*/compare/*.jsonl"))
        workers = psutil.Process(process.pid).children(recursive=True)
        lines = files[0].read_text().splitlines() if files else ()
        # The control may be written first, and is no row of the table.
        if workers and any('"measurement"' in line and '"copy":false' in line for line in lines):
            return process, files[0], workers
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"nothing was measured: {process.communicate()}")


def test_ctrl_c_while_python_imports_leaves_no_traceback(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-P", "-m", "ganbench", "list"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def _gone(processes):
    """Wait until none of ``processes`` runs; return those that still do. Zombies count as gone."""
    _, alive = psutil.wait_procs(processes, timeout=LIMIT_S)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(tmp_path):
    process, file, workers = _start_long_run(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    try:
        out, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert "matmul" in out
    assert _gone(workers) == []
    assert len(ganbench.load_results(file)) >= 1


def test_kill_9_loses_at_most_the_round_in_flight_and_leaves_no_process(tmp_path):
    process, file, workers = _start_long_run(tmp_path)
    before = file.read_text().count('"measurement"')
    workers = psutil.Process(process.pid).children(recursive=True) + workers
    process.kill()
    process.communicate()
    assert _gone(workers) == []
    table = ganbench.load_results(file)
    assert len(table) >= 1
    assert file.read_text().count('"measurement"') >= before
