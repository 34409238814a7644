"""``ganbench compare --count``: instructions instead of seconds, which say whether a mode changed, and rank nothing."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from commands import GANBENCH
from patience import LIMIT_S

import ganbench
from ganbench.errors import UsageError
from ganbench.measure.callgrind import check
from ganbench.report.counted import BAND, PURPOSE
from ganbench.results.store import DamagedResultsWarning


def missing():
    """Return why nothing can be counted here; '' where it can."""
    try:
        return check() or ""
    except UsageError as error:
        return str(error)


needs_valgrind = pytest.mark.skipif(bool(missing()), reason=missing())
ASKED = ("compare", "--count", "--backends", "numpy", "--preset", "tiny", "--ops", "matmul,adam_step")
MOST_FLOP = 64  # of one instruction: two fused products and sums of 16 numbers each, and no processor has more


@pytest.fixture
def counted(craft, tmp_path):
    """Return what writes a run that counted so many instructions; a text is the reason of a failure."""

    def write(valgrind="3.19.0", **counts):
        path = craft(tmp_path, {"torch": 2.0}, count=True)
        head, *lines = map(json.loads, path.read_text().splitlines())
        head["versions"] = {"numpy": "2.4.6", "valgrind": valgrind}
        kept = [head]
        for line in lines:
            if line["type"] == "measurement" and (line["round"], line["copy"]) == (1, False):
                found = counts.get(line["target"], 1e6)
                line |= {"samples": [], "passes": [], "instructions": [found, found]}
                if isinstance(found, str):
                    line |= {"status": "failed", "reason": found, "instructions": []}
                kept.append(line)
            elif line["type"] in ("worker", "end") and line.get("round", 1) == 1:
                kept.append(line)
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        return path

    return write


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(1e6, "same"), (1e6 * (1 - BAND / 2), "same"), (0.9e6, "fewer"), (1e6 * (1 + 2 * BAND), "more")],
)
def test_diff_says_whether_a_mode_changed(counted, after, verdict):
    table = ganbench.diff(counted(), counted(torch=after))
    assert table.loc[("matmul", "torch"), "verdict"] == verdict
    assert table.loc[("matmul", "torch"), "change"] == pytest.approx(after / 1e6 - 1)
    assert table.loc[("matmul", "numpy"), "verdict"] == "same"
    assert PURPOSE in table.attrs["notes"]


def test_counts_that_scatter_more_than_they_change_are_the_same(counted):
    a, b = counted(), counted(torch=1.02e6)
    b.write_text(b.read_text().replace("[1020000.0, 1020000.0]", "[1000000.0, 1040000.0]"))
    assert ganbench.diff(a, b).loc[("matmul", "torch"), "verdict"] == "same"


def test_diff_prints_counts_changes_and_reasons(counted, ganbench_cli, tmp_path):
    a, b = counted(torch=12_340_000), counted(torch=12_140_000, numpy="illegal instruction")
    page = tmp_path / "change.html"
    code, out, err = ganbench_cli("diff", a, b, "--results", tmp_path)
    assert (code, err) == (0, "")
    assert "12.34 M 12.14 M -1.62%" in " ".join(out.split())
    assert "numpy: failed in B: illegal instruction" in out
    assert PURPOSE in " ".join(out.split())
    assert ganbench_cli("diff", a, b, "--html", page)[0] == 0
    assert "12.14 M" in page.read_text()
    (row,) = [row for row in json.loads(ganbench_cli("diff", a, b, "--format", "json")[1])
              if (row["operation"], row["target"]) == ("matmul", "torch")]  # fmt: skip
    assert (row["a_instructions"], row["b_instructions"], row["verdict"]) == (12_340_000, 12_140_000, "fewer")


def test_counts_are_not_compared_with_times_nor_with_those_of_another_valgrind(counted, craft, tmp_path):
    for other, reason in ((craft(tmp_path), "count False / True"), (counted("3.22.0"), "Valgrind 3.22.0 / 3.19.0")):
        with pytest.raises(UsageError, match=reason):
            ganbench.diff(other, counted())


def test_a_run_that_counted_ranks_nothing(counted, ganbench_cli):
    path = counted(torch=2e6)
    for form in ("table", "markdown"):
        code, out, _ = ganbench_cli("results", "show", path, "--format", form)
        assert code == 0
        assert PURPOSE in " ".join(out.split())
        said = " ".join(out.split()).replace(PURPOSE, "")
        assert not [word for word in ("fast", "slow", "speed", "*", "baseline", "verdict", " ms", "µs") if word in said]
        assert "2 M" in said
    (row, *_) = json.loads(ganbench_cli("results", "show", path, "--format", "json")[1])
    assert (row["instructions"], row["instructions_spread"], row["status"]) == (1e6, 0, "ok")
    times = ("median_s", "ratio", "verdict", "import_s", "gflops", "percent_of_ceiling")
    assert [row[name] for name in times] == [None] * len(times)
    code, _, err = ganbench_cli("results", "show", path, "--format", "bmf")
    assert (code, "this run counted instructions" in err) == (2, True)


def test_reports_and_pages_are_of_times(counted, craft, tmp_path, ganbench_cli):
    path, timed = counted(), craft(tmp_path)
    assert set(ganbench.load_results(tmp_path)["run_id"]) == {timed.stem}
    with pytest.warns(DamagedResultsWarning, match="holds counts"):
        assert ganbench.load_results(path).empty
    listed = ganbench_cli("results", "list", tmp_path)[1].splitlines()
    assert [line.split()[2] for line in listed if path.stem in line] == ["counted"]
    code, _, err = ganbench_cli("recommend", "--iterations", "9", "--run", path)
    assert (code, "nothing can be recommended" in err) == (1, True)


@pytest.mark.parametrize(
    "more",
    [("--threads", "2"), ("--energy",), ("--caches", "cold"), ("--sweep", "batch=1,2"), ("--vary", "loss=hinge"),
     ("--fail-if", "torch/matmul slower than 2x"), ("--picture", "counts.png")],
)  # fmt: skip
def test_what_is_of_times_cannot_be_asked_for(more, ganbench_cli, monkeypatch, tmp_path):
    monkeypatch.setattr("ganbench.measure.plan.usable_cpus", lambda: [0, 1])
    code, _, err = ganbench_cli(*ASKED, *more, "--results", tmp_path / "results")
    assert (code, "--count" in err) == (2, True)
    assert not (tmp_path / "results").exists()


def test_without_valgrind_it_says_what_to_install(ganbench_cli, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = ganbench_cli(*ASKED, "--results", tmp_path / "results")
    assert (code, out) == (2, "")
    assert "Valgrind" in err
    assert "apt install valgrind" in err or "only" in err  # or no such system as it runs on
    assert not (tmp_path / "results").exists()


@needs_valgrind
@pytest.mark.workers
def test_the_same_program_takes_the_same_instructions(ganbench_cli, tmp_path):
    """In two runs, each in a process of its own; and it is verified, as whatever is published."""
    for _ in range(2):
        asked = (*ASKED, "--backends", "numpy,torch@cuda", "--results", tmp_path)
        code, out, err = ganbench_cli(*asked, "--format", "json")
        assert code == 0, err
        for row in json.loads(out):
            if row["target"] == "torch@cuda":
                assert (row["status"], "Valgrind" in row["reason"]) == ("unavailable", True)
                continue
            assert (row["status"], row["threads"]) == ("ok", 1), row["reason"]
            assert row["instructions"] > row["flops"] / MOST_FLOP
            assert 0 < row["max_rel_error"] < 1e-3
    runs = sorted(tmp_path.glob("*/compare/*.jsonl"))
    table = ganbench.diff(*runs).loc[(slice(None), "numpy"), :]
    assert list(table["verdict"]) == ["same", "same"]


@needs_valgrind
@pytest.mark.workers
def test_ctrl_c_leaves_no_process(tmp_path):
    process = subprocess.Popen(
        [*GANBENCH, *ASKED, "--results", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        deadline, under = time.monotonic() + LIMIT_S, []
        while not under and process.poll() is None and time.monotonic() < deadline:
            below = psutil.Process(process.pid).children(recursive=True)
            under = [one for one in below if "callgrind" in one.name()]
            time.sleep(0.02)
        assert under
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert psutil.wait_procs(below, timeout=LIMIT_S)[1] == []
