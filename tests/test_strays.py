"""Processes that a backend starts and leaves: told where they disturb, and gone when the run is over."""

import json
import sys

import psutil
import pytest
from commands import cli, compared

from ganbench.report.export import render
from ganbench.results.records import StrayRecord
from ganbench.results.run import open_run

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets us adopt orphans"),
]


def spinning():
    """Return the processes of this kind, whoever started them."""
    found = psutil.process_iter(["cmdline"])
    return {one for one in found if one.info["cmdline"] == [sys.executable, "-c", "while True: pass"]}


def test_a_busy_process_that_a_backend_left_is_told_and_killed(tmp_path, outside):
    others = spinning()
    done = cli("compare", "--preset", "tiny", "--rounds", "2", "--backends", "numpy,outside.spinner", "--ops", "matmul",
               "--results", str(tmp_path), env=outside)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "not alone: processes that a backend has started" in text
    assert "cores while matmul was timed, so all times are too long" in text
    assert spinning() - others == set()


def test_a_run_does_not_wait_for_a_forked_process_that_holds_its_worker_s_channel(tmp_path, outside):
    """To close the pipe while a thread reads from it waited for the pipe's end, and nobody killed that process."""
    rows = compared(tmp_path, "--backends", "outside.daemon", "--ops", "matmul", env=outside)
    assert rows["matmul", "outside.daemon"]["status"] == "ok"


@pytest.mark.parametrize("mode", ["pool", "escapes"])
def test_what_processes_below_a_worker_use_is_told_in_its_row(tmp_path, outside, mode):
    rows = compared(tmp_path, "--backends", f"outside.slow,outside.{mode}", "--ops", "matmul", env=outside)
    # The other target only sleeps. The processes of a pool are stopped while it does, unless they escape.
    assert rows["matmul", f"outside.{mode}"]["cores"] > 0.1 + rows["matmul", "outside.slow"]["cores"]
    run = open_run(next(tmp_path.rglob("*.jsonl")))
    assert any(isinstance(record, StrayRecord) for record in run.records) == (mode == "escapes")


@pytest.mark.parametrize(("cores", "told"), [(1.05, False), (1.9, True)])
def test_more_cores_than_threads_are_told(craft, tmp_path, cores, told):
    path = craft(tmp_path, threads=1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["type"] == "measurement":
            line["cores"] = cores if (line["target"], line["operation"]) == ("torch", "matmul") else 0.9
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = render(open_run(path), "table", False)
    rows = [line for line in shown.splitlines() if "1.9 cores" in line]
    assert ["torch" in row.split()[:2] for row in rows] == [True] * told
    text = " ".join(shown.split())
    assert ("more cores than 1 thread can use" in text) == ("torch used 1.9 in matmul" in text) == told


def test_nothing_is_said_where_nobody_is_busy(tmp_path, outside):
    done = cli("compare", "--preset", "tiny", "--rounds", "1", "--backends", "numpy,outside.helper", "--ops", "matmul",
               "--results", str(tmp_path), env=outside)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not alone" not in done.stdout
