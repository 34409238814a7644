"""Runs that are killed or kept waiting: no process, no folder and no lock is left behind."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from commands import GANBENCH
from kept import counted, resume
from patience import LIMIT_S

from ganbench.machine.guard import FOLDER_OWNER, remove_stale

pytestmark = pytest.mark.workers


def processes(mark):
    """Return the processes that were started with ``mark`` in their environment, by a look at all of them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_MARK") == mark:
                found.append(process)
        except psutil.Error:
            pass
    return found


def left_over(mark):
    deadline = time.monotonic() + LIMIT_S
    while (left := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [(one.cmdline(), one.status()) for one in left]


def in_oracle(text, process):
    with contextlib.suppress(psutil.Error):  # a child that has ended meanwhile
        return any("ganbench.measure.oracle" in child.cmdline() for child in psutil.Process(process.pid).children())


def preparing(text, process):
    return '"worker"' in text and '"measurement"' not in text


def timing(text, process):
    return '"round":2' in text and '"measurement"' in text


MOMENTS = {
    "oracle": (in_oracle, 0.0),
    "prepare": (preparing, 0.0),
    "round 2": (timing, 0.0),
    "a little later": (timing, 0.37),
    "later": (timing, 0.91),
}


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and sessions are those of POSIX")
@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_leaves_nobody_and_the_run_goes_on(tmp_path, outside, moment):
    """Workers, stopped ones too, a helper in a session of its own, the oracle, the guard, temporary files."""
    reached, delay = MOMENTS[moment]
    temporary, mark = tmp_path / "temporary", uuid.uuid4().hex
    temporary.mkdir()
    environment = {**outside, "TEST_MARK": mark, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*GANBENCH, "compare", "--preset", "tiny", "--rounds", "3", "--backends", "outside.helper,numpy",
         "--ops", "matmul,adam_step", "--results", str(tmp_path)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            files = list(tmp_path.glob("*/compare/*.jsonl"))
            if files and reached(files[0].read_text(), process):
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay)
    finally:
        process.kill()
        process.wait()
    before = files[0].read_bytes()
    assert left_over(mark) == []
    assert {path.name for path in temporary.iterdir()} == {"ganbench.lock"}

    done = resume(files[0], env=environment)
    assert done.returncode == 0, done.stderr
    assert files[0].read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert {key[0] for key in counted(files[0])} == {1, 2, 3}
    assert {row["rounds"] for row in json.loads(done.stdout)} == {3}
    assert left_over(mark) == []


def test_folders_of_dead_runs_are_removed_and_no_others(tmp_path):
    for name, host in {"dead": platform.node(), "alive": platform.node(), "elsewhere": "another", "odd": ""}.items():
        (tmp_path / f"ganbench-{name}").mkdir()
        (tmp_path / f"ganbench-{name}" / FOLDER_OWNER).write_text(host)
    (tmp_path / "ganbench-new").mkdir()
    hold = (
        "import sys, pathlib\nfrom ganbench.machine.lock import try_lock\n"
        "with try_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "ganbench-alive")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        remove_stale(tmp_path)
        holder.communicate("\n")
    assert {path.name for path in tmp_path.iterdir()} == {f"ganbench-{n}" for n in ("alive", "elsewhere", "odd", "new")}


HOLD = "from ganbench.machine.lock import run_lock\nwith run_lock(print): print('held', flush=True); input()"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a temporary folder of its own."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GANBENCH_LOCK": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process, environment
    process.kill()
    process.communicate()


def waiting(tmp_path, environment):
    process = subprocess.Popen(
        [*GANBENCH, "compare", "--preset", "tiny", "--rounds", "1", "--backends", "numpy", "--ops", "matmul",
         "--results", str(tmp_path / "results")],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    about, said = process.stderr.readline(), process.stderr.readline()
    assert "numpy on matmul of tiny: 1 round" in about
    return process, said


def test_the_second_run_waits_and_says_for_whom(tmp_path, holder):
    first, environment = holder
    second, said = waiting(tmp_path, environment)
    assert f"waiting until process {first.pid} (since 20" in said
    assert "Ctrl-C stops waiting" in said
    verify = [*GANBENCH, "verify", "--preset", "tiny", "--backends", "numpy", "--ops", "matmul"]
    assert subprocess.run(verify, env=environment, capture_output=True).returncode == 0  # it times nothing
    assert not list(tmp_path.rglob("*.jsonl"))
    first.kill()  # the lock dies with its owner
    out, err = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 0, err
    assert "matmul" in out


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")
def test_whoever_waits_may_leave(tmp_path, holder):
    first, environment = holder
    second, _ = waiting(tmp_path, environment)
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 130
    assert "Traceback" not in err
    assert first.poll() is None
    assert not list(tmp_path.rglob("*.jsonl"))


def test_the_lock_is_for_every_user(tmp_path, holder):
    assert (Path(holder[1]["TMPDIR"]) / "ganbench.lock").stat().st_mode & 0o777 == 0o666
