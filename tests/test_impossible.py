"""A time that cannot be is shown as such, has no speed and wins nothing."""

import json
import re

import pytest
from commands import compared

import ganbench
from ganbench.report import prices, sweep
from ganbench.report.export import bencher, github_action, left_out, render
from ganbench.report.repeated import joined
from ganbench.report.start import start_table
from ganbench.report.table import ABOVE
from ganbench.results.loading import load_results
from ganbench.results.run import Ending, Point, Several, open_run
from ganbench.results.statistics import level
from ganbench.results.table import run_table


def with_ceilings(path, flops, **said):
    """Say in a run's file that the machine can do so many FLOP/s at best."""
    header, *lines = path.read_text().splitlines()
    found = [{"kind": "product", "size": 1024, "value": flops}, {"kind": "bandwidth", "size": 2**30, "value": 1e20}]
    record = {"type": "ceilings", "library": "numpy", "device": "cpu", "found": found} | said
    path.write_text("\n".join([header, json.dumps(record), *lines]) + "\n")


@pytest.fixture
def reached(real_run):
    """The FLOP/s of NumPy's matmul in the real run, by its typical visit: one that was stalled may take much longer."""
    line = next(line for line in real_run if line.get("operation") == "matmul" and line["samples"])
    return line["flops"] / level(line["samples"])


def test_far_above_the_ceiling_is_impossible(craft, reached, tmp_path):
    path = craft(tmp_path, {"torch": 2.0, "jax": 100.0})
    with_ceilings(path, reached)
    rows = load_results(tmp_path).set_index(["operation", "target"])
    assert rows.loc[("matmul", "torch"), "status"] == "ok"
    row = rows.loc[("matmul", "jax")]
    assert row["status"] == "impossible"
    assert "times what this machine was seen to do at best (compute): " in row["reason"]
    assert f": {reached / 1e9:.3g} GFLOP/s (numpy)." in row["reason"]  # a file of an earlier version gives no day
    assert "--fresh-ceilings" in row["reason"]
    assert row[["ratio", "verdict"]].isna().all()
    shown = [line for line in render(open_run(path), "table", False).splitlines() if "jax" in line]
    assert "impossible" in shown[0]
    assert "jax *" not in shown[0]


def test_nothing_is_compared_with_an_impossible_baseline(craft, reached, tmp_path):
    path = craft(tmp_path, {"torch": 0.01})
    with_ceilings(path, reached / 10)
    rows = load_results(tmp_path).set_index(["operation", "target"])
    assert rows.loc[("matmul", "numpy"), "status"] == "impossible"
    assert rows.loc[("matmul", "torch"), "status"] == "ok"
    assert rows.loc[("matmul", "torch"), ["ratio", "verdict"]].isna().all()


def test_the_ceiling_is_named_with_its_day_and_the_best_of_several_counts(craft, reached, tmp_path):
    path = craft(tmp_path, {"torch": 2.0, "jax": 100.0})
    with_ceilings(path, reached / 100, measured="2026-01-02T03:04:05+00:00")
    with_ceilings(path, reached, measured="2026-02-03T04:05:06+00:00")
    rows = load_results(tmp_path).set_index(["operation", "target"])
    assert list(rows.loc["matmul", "status"]) == ["ok", "ok", "impossible"]
    assert "(numpy, measured 2026-02-03)" in rows.loc[("matmul", "jax"), "reason"]


def test_what_other_work_took_is_granted(craft, reached, tmp_path):
    """While others take three quarters of the processors' time, a ceiling may be four times too low."""
    path = craft(tmp_path, {"torch": 8.0, "jax": 100.0})
    with_ceilings(path, reached, others=0.75)
    rows = load_results(tmp_path).set_index(["operation", "target"])
    assert list(rows.loc["matmul", "status"]) == ["ok", "ok", "impossible"]
    assert "while other work took 75% of the processors' time" in rows.loc[("matmul", "jax"), "reason"]


def test_more_than_a_ceiling_is_told(craft, reached, tmp_path):
    path = craft(tmp_path, {"torch": 4.0, "jax": 0.5})
    with_ceilings(path, 2 * reached)
    percent = load_results(tmp_path).set_index(["operation", "target"]).loc[("matmul", "torch"), "percent_of_ceiling"]
    assert f"above the ceiling: matmul on torch ({percent:.0f}%). {ABOVE}" in render(open_run(path), "markdown")
    with_ceilings(path, 10 * reached)
    assert "above the ceiling" not in render(open_run(path), "markdown")


@pytest.fixture
def claimed(craft, reached, tmp_path):
    """Write runs whose ceiling is so many times NumPy's rate, and in which JAX claims a hundred times that rate."""

    def make(ceiling=1.0, **speeds):
        path = craft(tmp_path, {"torch": 2.0, "jax": 100.0} | speeds)
        with_ceilings(path, ceiling * reached)
        return path

    return make


def test_nothing_is_said_of_an_impossible_time_in_another_run(claimed):
    """Not from run to run, nor of several runs together."""
    paths = claimed(), claimed(jax=200.0)
    table = ganbench.diff(*paths)
    assert table.loc[("matmul", "torch"), "verdict"] == "same"
    row = table.loc[("matmul", "jax")]
    assert row["verdict"] == row["confirmed_verdict"] == ""
    assert row[["ratio", "relative", "confirmed"]].isna().all()
    together = joined([*map(open_run, paths)]).set_index(["operation", "target"])
    assert together.loc[("matmul", "torch"), "verdict"] == "faster"
    assert together.loc[("matmul", "jax"), ["ratio", "verdict"]].isna().all()


def test_nothing_is_relative_to_an_impossible_baseline_in_another_run(claimed):
    paths = claimed(0.1, torch=0.01, jax=0.02), claimed(0.1, torch=0.02, jax=0.02)
    table = ganbench.diff(*paths)
    row = table.loc[("matmul", "torch")]
    assert (row["basis"], row["verdict"]) == ("times alone", "faster")
    assert row[["relative", "control"]].isna().all()
    together = joined([*map(open_run, paths)]).set_index(["operation", "target"])
    assert together.loc["matmul", ["ratio", "verdict"]].isna().all(axis=None)


def test_an_impossible_time_overtakes_nobody_and_has_no_price(claimed):
    runs = [open_run(claimed(jax=0.5)), open_run(claimed())]
    of = {"operations": ("matmul",), "targets": ("numpy", "torch", "jax"), "baseline": "numpy", "left": ()}
    swept = Several("batch", points=(Point(1, runs[0]), Point(2, runs[1])), ended=Ending("complete"), **of)
    assert not sweep.crossings(swept)
    varied = Several(
        "variant", points=(Point("base", runs[0]), Point("loss=a", runs[1])), ended=Ending("complete"), **of
    )
    rows = prices.tidy(varied).set_index(["operation", "target", "variant"])
    assert rows.loc[("matmul", "torch", "loss=a"), "price"] == pytest.approx(1)
    assert rows.loc[("matmul", "jax", "loss=a"), ["price", "verdict"]].isna().all()


def test_an_impossible_time_is_handed_to_nobody(claimed):
    run = open_run(claimed())
    for text in (bencher(run), github_action(run)):
        assert re.findall(r": matmul \S+ on (\w+)", text) == ["numpy", "torch"]
    assert left_out(run)[0].startswith("left out: matmul on jax: impossible: ")


def test_an_impossible_time_catches_up_with_nobody(claimed):
    table = run_table(open_run(claimed()))
    assert set(start_table(table[table["operation"] == "matmul"])["target"]) == {"numpy", "torch"}


def test_a_run_of_which_every_time_is_impossible_has_measured_nothing(
    craft, reached, tmp_path, ganbench_cli, monkeypatch
):
    path = craft(tmp_path, {})
    with_ceilings(path, reached / 10)
    lines = [line for line in path.read_text().splitlines() if json.loads(line).get("operation", "matmul") == "matmul"]
    head = json.loads(lines[0]) | {"operations": ["matmul"]}
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    monkeypatch.setattr("ganbench.measure.session.carry_out", lambda *_: open_run(path))
    code, _, err = ganbench_cli("compare", "--backends", "numpy", "--results", tmp_path)
    assert code == 1
    assert "nothing was measured: each row has the reason" in err


@pytest.mark.workers
@pytest.mark.parametrize("mode", ["clock", "drags", "slackens"])
def test_a_clock_that_lies_is_found_by_ours(tmp_path, outside, mode):
    rows = compared(tmp_path, "--backends", f"numpy,outside.{mode}", "--ops", "matmul", env=outside)
    assert rows["matmul", "numpy"]["status"] == "ok"
    row = rows["matmul", f"outside.{mode}"]
    assert row["status"] == "impossible"
    assert "but ganbench's own clock shows" in row["reason"]
