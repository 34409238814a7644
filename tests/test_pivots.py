"""Pivots over many runs: ratios, scaling, history, and the Styler that shows them."""

import json
import math

import pandas as pd
import pytest

import ganbench
from ganbench.errors import UsageError
from ganbench.report import history, ratio_matrix, scaling, style
from ganbench.report.notebook import to_html
from ganbench.results.run import open_run

OPERATIONS = ["matmul", "batch_norm", "adam_step", "gan_iteration"]


def numbers(values):
    return pytest.approx(list(values), rel=1e-12)


# Ratios


def test_ratios_are_the_runs_own_and_the_mean_is_geometric(craft, results):
    craft(results, {"torch": 2.0, "jax": 0.5})
    matrix = ratio_matrix(ganbench.load_results(results))
    assert list(matrix.index) == [*OPERATIONS, "geometric mean"]
    assert list(matrix.columns) == ["numpy", "torch", "jax"]
    assert list(matrix["torch"]) == numbers([2.0] * 5)
    assert list(matrix["jax"]) == numbers([0.5] * 5)
    assert matrix.attrs["notes"] == []
    assert matrix.attrs["title"].startswith("speed relative to numpy (more than 1 is faster): here, compare, tiny")


def test_what_failed_is_shown_and_has_no_mean(craft, results):
    craft(
        results, {"torch": 2.0, "jax": 4.0}, statuses={("matmul", "torch"): "invalid", ("adam_step", "jax"): "timeout"}
    )
    matrix = ratio_matrix(ganbench.load_results(results))
    assert matrix.loc["matmul", "torch"] == "invalid"
    assert matrix.loc["adam_step", "jax"] == "timeout"
    assert matrix.loc["geometric mean"].to_dict() == {"numpy": 1.0, "torch": "3 of 4", "jax": "3 of 4"}
    assert matrix.loc["batch_norm", "torch"] == pytest.approx(2.0)


def test_a_failed_baseline_leaves_statuses_and_says_that_there_is_none(craft, results):
    craft(results, statuses={(name, "numpy"): "failed" for name in OPERATIONS})
    matrix = ratio_matrix(ganbench.load_results(results))
    assert set(matrix["numpy"][:4]) == {"failed"}
    assert set(matrix["torch"][:4]) == {"no numpy"}
    assert set(matrix.loc["geometric mean"]) == {"0 of 4"}


def test_another_baseline_is_derived_from_medians_and_says_so(craft, results):
    craft(results, {"torch": 2.0, "jax": 0.5})
    table = ganbench.load_results(results)
    matrix = ratio_matrix(table, baseline="torch")
    assert list(matrix.columns) == ["torch", "numpy", "jax"]
    assert list(matrix["numpy"]) == numbers([0.5] * 5)
    assert list(matrix["jax"]) == numbers([0.25] * 5)
    assert "8 ratios derived from medians" in " ".join(matrix.attrs["notes"])
    with pytest.raises(UsageError, match=r"'cupy' is not among the targets measured \(numpy, torch, jax\)"):
        ratio_matrix(table, baseline="cupy")


def test_undecided_ratios_are_counted(craft, results, real_run):
    craft(results, {"torch": 1.0})
    table = ganbench.load_results(results)
    table.loc[table["target"] == "torch", "verdict"] = "undecided"
    assert "4 of the ratios undecided" in " ".join(ratio_matrix(table).attrs["notes"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("machine", "there"), ("dtype", "float64"), ("precision", "tf32"), ("threads", 7), ("spec", None)],
)
def test_what_differs_is_never_pooled(craft, results, real_run, field, value):
    name = "model" if field == "spec" else field
    value = value or real_run[0]["spec"] | {"name": "other"}
    craft(results, {"torch": 2.0})
    craft(results, {"torch": 3.0}, **{field: value})
    table = ganbench.load_results(results)
    for pivot in (ratio_matrix(table), history(table), *(scaling(table, by) for by in ("batch", "threads", "dtype"))):
        assert name in (*pivot.index.names, pivot.columns.name)
        assert name not in pivot.attrs["title"].partition(":")[2]
        assert "older row" not in " ".join(pivot.attrs["notes"])
    matrix = ratio_matrix(table)
    assert sorted(matrix.xs("matmul", level="operation")["torch"]) == numbers([2.0, 3.0])
    assert len(matrix) == 2 * (len(OPERATIONS) + 1)


def test_rows_of_asv_stand_beside_those_of_compare(craft, results):
    craft(results, {"torch": 2.0})
    table = ganbench.load_results(results)
    other = table.copy()
    other[["source", "run_id"]] = ["asv", "asv 1"]
    other[["baseline", "verdict", "precision", "threads", "preset"]] = pd.NA
    other[["ratio", "ratio_low", "ratio_high"]] = math.nan
    other["median_s"] *= [3.0 if target == "torch" else 1.0 for target in other["target"]]
    matrix = ratio_matrix(pd.concat([table, other]))
    assert list(matrix.xs("compare", level="source")["torch"]) == numbers([2.0] * 5)
    assert list(matrix.xs("asv", level="source")["torch"]) == numbers([2 / 3] * 5)
    assert "4 ratios derived from medians" in " ".join(matrix.attrs["notes"])


def test_shapes_of_one_operation_are_told_apart(craft, results):
    craft(results, {"torch": 2.0})
    craft(results, {"torch": 3.0}, shapes={"matmul": [32, 16, 36]})
    matrix = ratio_matrix(ganbench.load_results(results))
    assert list(matrix.loc["matmul"].index) == ["16x16x36", "32x16x36"]
    assert list(matrix.loc["matmul", "torch"]) == numbers([2.0, 3.0])


def test_versions_in_one_context_stand_behind_the_target(craft, results):
    craft(results, {"torch": 2.0}, versions={"torch": "2.12"})
    craft(results, {"torch": 3.0}, versions={"torch": "2.13"})
    table = ganbench.load_results(results)
    matrix = ratio_matrix(table)
    assert list(matrix.columns) == ["numpy", "torch 2.12", "torch 2.13"]
    assert list(matrix.loc["matmul"]) == numbers([1.0, 2.0, 3.0])
    assert ratio_matrix(table, baseline="torch").loc["matmul", "torch 2.13"] == 1.0
    assert "torch 2.12" in scaling(table, "threads").index.get_level_values("target")


def test_versions_of_different_machines_are_a_note(craft, results):
    craft(results, {"torch": 2.0}, versions={"torch": "2.12"})
    craft(results, {"torch": 3.0}, versions={"torch": "2.13"}, machine="there")
    matrix = ratio_matrix(ganbench.load_results(results))
    assert list(matrix.columns) == ["numpy", "torch"]
    assert "versions of torch: 2.12 (here), 2.13 (there)" in matrix.attrs["notes"]


def test_of_several_runs_the_newest_counts(craft, results):
    craft(results, {"torch": 2.0})
    craft(results, {"torch": 4.0}, statuses={("matmul", "torch"): "failed"})
    craft(results, {"torch": 9.0}, timestamp="2025-01-01T00:00:00+00:00")
    matrix = ratio_matrix(ganbench.load_results(results))
    assert matrix.loc["adam_step", "torch"] == pytest.approx(4.0)
    assert matrix.loc["matmul", "torch"] == "failed"
    notes = " ".join(matrix.attrs["notes"])
    assert "16 older rows left out" in notes


def test_a_run_cut_off_before_timing_hides_nothing_older(craft, results):
    craft(results, {"torch": 2.0})
    newer = craft(results, {"torch": 9.0})
    text = [
        json.loads(line) | {"samples": [], "passes": []}
        for line in newer.read_text().splitlines()
        if '"measurement"' in line
    ]
    head = newer.read_text().splitlines()[0]
    newer.write_text("\n".join([head, *map(json.dumps, text)]) + "\n")
    table = ganbench.load_results(results)
    assert ratio_matrix(table).loc["matmul", "torch"] == pytest.approx(2.0)
    alone = ratio_matrix(ganbench.load_results(newer))
    assert set(alone["torch"][:4]) == {"not timed"}


# Scaling and history


def test_scaling_by_batch(craft, results):
    craft(results, {"torch": 2.0})
    sizes = {"matmul": [64, 16, 36], "batch_norm": [64, 16], "gan_iteration": [64, 8, 16, 36, 16, 1]}
    craft(results, {"torch": 2.0}, shapes=sizes, scale=4.0)
    table = ganbench.load_results(results)
    pivot = scaling(table, "batch")
    assert list(pivot.columns) == [16, 64]
    assert pivot.columns.name == "batch"
    assert set(pivot.index.get_level_values("operation")) == {"matmul", "batch_norm", "gan_iteration"}
    assert list(pivot[64] / pivot[16]) == numbers([4.0] * 6)
    assert "left out, because they have no batch: adam_step" in pivot.attrs["notes"]
    with pytest.raises(UsageError, match="none of these operations has a batch"):
        scaling(table[table["operation"] == "adam_step"], "batch")


@pytest.mark.parametrize(("by", "value"), [("threads", 9), ("dtype", "float64")])
def test_scaling_by_threads_and_dtype(craft, results, real_run, by, value):
    craft(results)
    craft(results, **{by: value}, scale=0.5, statuses={("matmul", "torch"): "out of memory"})
    pivot = scaling(ganbench.load_results(results), by)
    assert list(pivot.columns) == [real_run[0][by], value]
    assert pivot.loc[("matmul", "torch"), value] == "out of memory"
    first, second = pivot.loc[("adam_step", "numpy")]
    assert second == pytest.approx(first / 2)


def test_scaling_over_one_value_says_how_to_get_another(craft, results):
    craft(results)
    notes = scaling(ganbench.load_results(results), "dtype").attrs["notes"]
    assert "dtype float32 is the only value measured: 'ganbench compare --dtype' measures another" in notes
    with pytest.raises(UsageError, match=r"unknown variable 'size' \(known: batch, critic_steps, dtype, threads\)"):
        scaling(ganbench.load_results(results), "size")


def test_history_is_in_the_order_of_first_measurement(craft, results):
    craft(results, commit="b" * 40, dirty=False)
    craft(results, commit="a" * 40, dirty=False, scale=2.0, statuses={("adam_step", "torch"): "failed"})
    craft(results, commit="c" * 40, dirty=True, scale=1.0)
    craft(results, commit="b" * 40, dirty=False, scale=1.5)  # an older commit, measured again
    craft(results, commit=None, dirty=None)
    pivot = history(ganbench.load_results(results))
    flat = pivot.reset_index("commit")
    one = flat.loc[("matmul", "torch")].set_index("commit")
    assert list(one.index) == ["bbbbbbbb", "aaaaaaaa", "cccccccc+", "no commit"]
    assert list(one["median_s"] / one["median_s"].iloc[0]) == numbers([1.0, 2 / 1.5, 1 / 1.5, 1 / 1.5])
    assert math.isnan(one["change"].iloc[0])
    assert list(one["change"][1:]) == numbers([2 / 1.5 - 1, -0.5, 0.0])
    broken = flat.loc[("adam_step", "torch")].set_index("commit")
    assert broken.loc["aaaaaaaa", "median_s"] == "failed"
    assert broken.loc["cccccccc+", "change"] == pytest.approx(1 / 1.5 - 1)  # against the last that was measured
    assert "8 older rows left out" in " ".join(pivot.attrs["notes"])


def test_no_rows_are_an_error_that_says_what_to_do():
    from ganbench.results.table import frame

    for make in (ratio_matrix, history, lambda table: scaling(table, "threads")):
        with pytest.raises(UsageError, match="ganbench compare"):
            make(frame([]))


# Stylers and notebooks


def test_style_marks_the_best_and_escapes_what_is_foreign(craft, results):
    craft(results, {"torch": 2.0, "<script>": 3.0}, statuses={("matmul", "torch"): "failed"}, machine="here")
    page = style(ratio_matrix(ganbench.load_results(results))).to_html()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "speed relative to numpy" in page
    assert ">3.00</td>" in page
    assert ">failed</td>" in page
    bold = page.partition("font-weight: bold")[0].rpartition("}")[2]
    assert bold.count("_col2") == 5
    assert "_col0" not in bold


def test_a_comparison_shows_itself_in_a_notebook(craft, results):
    path = craft(results, {"torch": 2.0, "jax": 1.0}, statuses={("matmul", "torch"): "failed"})
    path.write_text(path.read_text().replace("torch went wrong", "<script>alert(1)</script>"))
    page = to_html(open_run(path))
    assert page.startswith('<div class="ganbench">')
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<strong>tiny (8-16-36 / 36-16-1, batch 16), float32" in page
    assert "control (numpy / its second copy): matmul 1.00 [1.00, 1.00]" in page
    assert page.count('class="first fastest"') + page.count('class="fastest"') >= 3
    assert page.count('class="missing"') == 1
    assert "2.00x" not in page.partition("<tbody>")[0]
