"""Who wins: one answer, whatever the baseline and whoever asks."""

import math

import numpy as np
import pandas as pd
import pytest

import ganbench
from ganbench.errors import UsageError
from ganbench.report import ratio_matrix
from ganbench.report.relative import fastest, mean, relative
from ganbench.report.selection import contexts, select
from ganbench.results.run import open_run, runs_below


def comparison_of(path):
    run = open_run(path)
    return ganbench.Comparison(run.records, run.path, run.ended)


def test_any_target_of_a_comparison_can_be_its_baseline(craft, tmp_path):
    comparison = comparison_of(craft(tmp_path, {"torch": 2.0, "jax": 4.0}))
    own = comparison.relative_to("numpy")
    pd.testing.assert_frame_equal(own.drop(columns="fastest"), comparison.to_pandas())
    other = comparison.relative_to("jax").set_index(["operation", "target"])
    assert other.loc[("matmul", "torch"), ["ratio", "ratio_low", "ratio_high"]].tolist() == pytest.approx([0.5] * 3)
    assert other.loc[("matmul", "torch"), "verdict"] == "slower"
    assert other.loc[("matmul", "jax"), "verdict"] == "baseline"
    assert other["fastest"].tolist() == own["fastest"].tolist()
    with pytest.raises(UsageError, match=r"'cupy' is not among the targets measured \(numpy, torch, jax\)"):
        comparison.relative_to("cupy")


def test_what_was_not_believed_is_no_baseline(craft, tmp_path):
    run = craft(tmp_path, {"torch": 2.0}, statuses={("matmul", "torch"): "invalid"})
    rows = comparison_of(run).relative_to("torch").set_index(["operation", "target"])
    assert math.isnan(rows.loc[("matmul", "numpy"), "ratio"])
    assert pd.isna(rows.loc[("matmul", "numpy"), "verdict"])


def test_speeds_are_paired_where_the_run_is_at_hand(craft, tmp_path):
    craft(tmp_path, {"torch": 2.0, "jax": 4.0})
    table = ganbench.load_results(tmp_path)
    assert set(relative(select(table), "jax").rows["verdict"]) == {"baseline", "derived"}
    assert set(relative(select(table), "jax", runs_below(tmp_path)).rows["verdict"]) == {"baseline", "slower"}
    assert "derived" not in " ".join(ratio_matrix(table, "jax", runs_below(tmp_path)).attrs["notes"])


def test_a_run_of_another_time_hides_no_winner(craft, tmp_path):
    """The newest rows of numpy and torch are of a run without jax: torch may be faster than it, numpy cannot be."""
    craft(tmp_path, {"torch": 2.0, "jax": 4.0})
    craft(tmp_path, {"torch": 2.0})
    found = select(ganbench.load_results(tmp_path))
    marks = found.rows.assign(fastest=fastest(found.rows, runs_below(tmp_path), found.older))
    assert marks[marks["operation"] == "matmul"].set_index("target")["fastest"].to_dict() == {
        "numpy": "", "torch": "maybe", "jax": "maybe",
    }  # fmt: skip


def test_a_mean_is_over_all_operations_or_there_is_none():
    assert mean([2.0, 8.0]) == pytest.approx(4.0)
    assert np.isnan([mean([2.0, None]), mean([math.nan]), mean([])]).all()


def test_the_newest_machine_comes_first_and_what_was_not_measured_last(craft, tmp_path):
    craft(tmp_path, machine="old")
    craft(tmp_path, machine="new", dtype="float64")
    craft(tmp_path, machine="new")
    gone = {(name, target): "failed" for name in ("matmul", "batch_norm", "adam_step", "gan_iteration")
            for target in ("numpy", "torch")}  # fmt: skip
    craft(tmp_path, machine="broken", statuses=gone)
    rows = select(ganbench.load_results(tmp_path)).rows.to_dict("records")
    assert contexts(rows, ("machine", "dtype")) == [
        ("new", "float32"), ("new", "float64"), ("old", "float32"), ("broken", "float32"),
    ]  # fmt: skip
