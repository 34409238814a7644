"""Runs that are killed, resumed or kept waiting: nothing is lost but the round in flight, and nobody is left."""

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

from ganbench.errors import StorageError
from ganbench.machine.workspace import OWNER, remove_stale
from ganbench.results.store import read_run

GANBENCH = [sys.executable, "-m", "ganbench.cli"]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def counted(path):
    """Return the measurements that count, by (round, operation, target, copy); each is there once."""
    rows = [record for record in read_run(path) if type(record).__name__ == "Measurement"]
    found = {(row.round, row.operation, row.target, row.copy): row for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, outside):
    """A run of three rounds that nobody disturbed; one of its targets fails."""
    results = tmp_path_factory.mktemp("whole")
    subprocess.run(
        [*GANBENCH, "compare", "--preset", "tiny", "--rounds", "3", "--backends", "numpy,numpy.inplace,outside.raises",
         "--ops", "matmul,adam_step", "--results", str(results)],
        env=outside, check=True, capture_output=True,
    )  # fmt: skip
    return next(results.glob("*/compare/*.jsonl"))


@pytest.fixture
def interrupted(whole, tmp_path):
    """Write the first rounds of that run, and a part of the next, into a file of its own; return its path."""

    def write(rounds, torn=b"", change=None):
        head, *lines = lines_of(whole)
        kept = [line for line in lines if line.get("round", 99) <= rounds]
        kept += [line for line in lines if line.get("round") == rounds + 1][:-2]
        path = tmp_path / "run.jsonl"
        text = "".join(json.dumps(line) + "\n" for line in [change(head) if change else head, *kept])
        path.write_bytes(text.encode() + torn)
        return path

    return write


def resume(path, *options, env):
    return subprocess.run(
        [*GANBENCH, "compare", "--resume", str(path), "--format", "json", *options],
        env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.fixture
def resume_here(monkeypatch, outside, ganbench_cli):
    """Resume a run in this process, which sees the outside backend: for what is refused before anything starts."""
    monkeypatch.setattr(sys, "path", [outside["PYTHONPATH"], *sys.path])

    def refused(path, *options):
        code, out, err = ganbench_cli("compare", "--resume", path, "--format", "json", *options)
        assert out == ""
        return code, err

    return refused


@pytest.mark.parametrize(("rounds", "torn"), [(0, b""), (1, b'{"type":"measurement","rou'), (2, b"\0\0\n")])
def test_a_resumed_run_is_the_run_it_would_have_been(interrupted, whole, outside, resume_here, rounds, torn):
    path = interrupted(rounds, torn)
    before = path.read_bytes()[: -len(torn) or None]
    done = resume(path, env=outside)
    assert done.returncode == 0, done.stderr
    assert ("torn off" in done.stderr) == bool(torn)
    assert path.read_bytes().startswith(before)
    found, expected = counted(path), counted(whole)
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row.order == expected[key].order
        assert row.status == expected[key].status
        if key[0] <= rounds:
            assert row == expected[key]
    numbers = {(row.target, row.operation, row.iterations) for row in found.values() if row.status == "ok"}
    assert len(numbers) == 5  # loops fixed across rounds: each numpy twice, outside once
    rows = json.loads(done.stdout)
    assert {row["rounds"] for row in rows if row["status"] == "ok"} == {3}
    elapsed = [row.elapsed_s for row in found.values()]
    assert elapsed == sorted(elapsed)
    code, err = resume_here(path)
    assert code == 2
    assert "has ended (complete, 3 rounds" in err


def test_more_rounds_may_be_asked_of_a_run_that_ended(whole, tmp_path, outside, resume_here):
    path = tmp_path / "run.jsonl"
    path.write_bytes(whole.read_bytes())
    assert resume_here(path, "--rounds", "3")[0] == 2
    assert resume(path, "--rounds", "4", env=outside).returncode == 0
    assert max(key[0] for key in counted(path)) == 4
    shown = subprocess.run([*GANBENCH, "results", "show", str(path)], capture_output=True, text=True)
    assert "resumed with round 4" in shown.stdout


def test_a_spent_budget_ends_the_run_at_once(interrupted, outside):
    def spent(head):
        head["settings"] |= {"rounds": 0, "budget_s": 1.0}
        return head

    path = interrupted(2, change=spent)
    assert resume(path, env=outside).returncode == 0
    assert max(key[0] for key in counted(path)) == 2
    end = lines_of(path)[-1]
    assert (end["type"], end["reason"], end["rounds"]) == ("end", "budget", 2)
    assert end["seconds"] > 1


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("environment", {"cpu": "Another"}, "cpu was Another, is "),
        ("environment", {"python": "3.1"}, "python was 3.1, is 3."),
        ("environment", {"uncontrolled": ["x"]}, "uncontrolled was x, is none"),
        ("environment", {"tuning": ["XLA_FLAGS=x"]}, "tuning was XLA_FLAGS=x, is "),
        ("version", "0.0.1", "ganbench was 0.0.1, is "),
        ("commit", "abc", "commit was abc, is "),
        ("changes", "abc", "uncommitted changes was abc, is "),
        ("versions", {"numpy": "1.0"}, "version of numpy was 1.0, is "),
        ("data_digest", "abc", "data was abc, is "),
        ("data_digest", "", "data was none, is "),
        ("data", "/nowhere/x.npy", "No such file"),
    ],
)
def test_what_must_not_be_pooled_is_named(interrupted, resume_here, field, value, named):
    def change(head):
        head[field] = head[field] | value if isinstance(value, dict) else value
        return head

    path = interrupted(1, change=change)
    before = path.read_bytes()
    code, err = resume_here(path)
    assert code == 2, err
    assert named in err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--ops", "matmul"], "--ops cannot be given with --resume"),
        (["--machine", "x"], "--machine cannot be given with --resume"),
        (["--rounds", "-1"], "rounds -1"),
        (["--budget", "0"], "budget 0"),
    ],
)
def test_other_options_are_refused(interrupted, resume_here, options, named):
    code, err = resume_here(interrupted(1), *options)
    assert code == 2
    assert named in err


def test_files_of_earlier_versions_are_read_but_not_resumed(interrupted, resume_here):
    def old(head):
        return {
            key: value for key, value in head.items() if key not in ("timeout_s", "data_digest", "versions", "changes")
        }

    path = interrupted(1, change=old)
    assert counted(path)
    code, err = resume_here(path)
    assert code == 2
    assert "version of numpy was not recorded" in err
    path.write_text("no run")
    with pytest.raises(StorageError):
        read_run(path)
    assert resume_here(path)[0] == 1


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
    deadline = time.monotonic() + 15
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
        [*GANBENCH, "compare", "--preset", "tiny", "--rounds", "2", "--backends", "outside.helper,numpy",
         "--ops", "matmul,adam_step", "--results", str(tmp_path)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 100
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
    assert {key[0] for key in counted(files[0])} == {1, 2}
    assert {row["rounds"] for row in json.loads(done.stdout)} == {2}
    assert left_over(mark) == []


def test_folders_of_dead_runs_are_removed_and_no_others(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    owners = {
        "dead": {"host": platform.node(), "pid": ended.pid},
        "alive": {"host": platform.node(), "pid": os.getpid()},
        "elsewhere": {"host": "another", "pid": ended.pid},
        "odd": ["?"],
    }
    for name, owner in owners.items():
        (tmp_path / f"ganbench-{name}").mkdir()
        (tmp_path / f"ganbench-{name}" / OWNER).write_text(json.dumps(owner))
    (tmp_path / "ganbench-new").mkdir()
    remove_stale(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"ganbench-{n}" for n in ("alive", "elsewhere", "odd", "new")}


HOLD = "from ganbench.machine.lock import run_lock\nwith run_lock(print): print('held', flush=True); input()"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of a temporary folder of its own."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
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
    return process, process.stderr.readline()


def test_the_second_run_waits_and_says_for_whom(tmp_path, holder):
    first, environment = holder
    second, said = waiting(tmp_path, environment)
    assert f"waiting until process {first.pid} (since 20" in said
    assert "Ctrl-C leaves" in said
    verify = [*GANBENCH, "verify", "--preset", "tiny", "--backends", "numpy", "--ops", "matmul"]
    assert subprocess.run(verify, env=environment, capture_output=True).returncode == 0  # it times nothing
    assert not list(tmp_path.rglob("*.jsonl"))
    first.kill()  # the lock dies with its owner
    out, err = second.communicate(timeout=100)
    assert second.returncode == 0, err
    assert "matmul" in out


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process")
def test_whoever_waits_may_leave(tmp_path, holder):
    first, environment = holder
    second, _ = waiting(tmp_path, environment)
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=20)
    assert second.returncode == 130
    assert "Traceback" not in err
    assert first.poll() is None
    assert not list(tmp_path.rglob("*.jsonl"))


def test_the_lock_is_for_every_user(tmp_path, holder):
    assert (Path(holder[1]["TMPDIR"]) / "ganbench.lock").stat().st_mode & 0o777 == 0o666
