"""A time that cannot be is shown as such, has no speed and wins nothing."""

import json

import pytest
from commands import compared

from ganbench.report.export import render
from ganbench.results.loading import load_results
from ganbench.results.run import open_run


def with_ceilings(path, flops):
    """Say in a run's file that the machine can do so many FLOP/s at best."""
    header, *lines = path.read_text().splitlines()
    found = [{"kind": "product", "size": 1024, "value": flops}, {"kind": "bandwidth", "size": 2**30, "value": 1e20}]
    record = {"type": "ceilings", "library": "numpy", "device": "cpu", "found": found}
    path.write_text("\n".join([header, json.dumps(record), *lines]) + "\n")


@pytest.fixture
def reached(real_run):
    """The FLOP/s of NumPy's matmul in the real run."""
    line = next(line for line in real_run if line.get("operation") == "matmul" and line["samples"])
    return line["flops"] / (sum(line["samples"]) / len(line["samples"]))


def test_far_above_the_ceiling_is_impossible(craft, reached, tmp_path):
    path = craft(tmp_path, {"torch": 2.0, "jax": 100.0})
    with_ceilings(path, reached)
    rows = load_results(tmp_path).set_index(["operation", "target"])
    assert rows.loc[("matmul", "torch"), "status"] == "ok"
    row = rows.loc[("matmul", "jax")]
    assert row["status"] == "impossible"
    assert "times what this machine was seen to do at best (compute)" in row["reason"]
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


@pytest.mark.workers
def test_a_clock_that_lies_is_found_by_ours(tmp_path, outside):
    rows = compared(tmp_path, "--backends", "numpy,outside.clock", "--ops", "matmul", env=outside)
    assert rows["matmul", "numpy"]["status"] == "ok"
    row = rows["matmul", "outside.clock"]
    assert row["status"] == "impossible"
    assert "but ganbench's own clock shows" in row["reason"]
