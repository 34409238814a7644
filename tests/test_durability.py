"""Runs that are resumed: nothing is lost but the round in flight, and nothing is pooled that differs."""

import json
import subprocess
import sys

import pytest
from commands import GANBENCH
from kept import counted, lines_of, resume

from ganbench.errors import StorageError
from ganbench.results.store import read_run

pytestmark = pytest.mark.workers


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
    assert ("was incomplete" in done.stderr) == bool(torn)
    assert path.read_bytes().startswith(before)
    found, expected = counted(path), counted(whole)
    assert found.keys() == expected.keys()
    for key, row in found.items():
        ours, theirs = (dict(zip(one.passes, one.order, strict=True)) for one in (row, expected[key]))
        assert all(ours[number] == theirs[number] for number in ours.keys() & theirs.keys())
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
