"""Processes that a backend starts and leaves: told where they disturb, and gone when the run is over."""

import sys

import psutil
import pytest
from commands import cli

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


def test_nothing_is_said_where_nobody_is_busy(tmp_path, outside):
    done = cli("compare", "--preset", "tiny", "--rounds", "1", "--backends", "numpy,outside.helper", "--ops", "matmul",
               "--results", str(tmp_path), env=outside)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not alone" not in done.stdout
