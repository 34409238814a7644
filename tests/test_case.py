"""The identity of a case: what differs in it is never pooled, and what is the same is one case wherever it lies."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import ganbench
from ganbench.data import data_digest
from ganbench.errors import UsageError
from ganbench.gan import GANSpec, preset, with_loss
from ganbench.report import chart_rows, history, ratio_matrix, scaling
from ganbench.report.export import bencher, github_action
from ganbench.report.selection import select
from ganbench.results import columns
from ganbench.results.case import model_label
from ganbench.results.run import open_run

ROOT = Path(__file__).resolve().parents[1]
TINY, PLAIN = preset("tiny"), GANSpec(name="mine", generator=(8, 16, 36), discriminator=(36, 16, 1), batch=16)
CRITIC = {"loss": "wgan-gp", "penalty": 10.0, "lr": 1e-4, "beta1": 0.0, "beta2": 0.9}


# Models


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        (TINY, "tiny"),
        (replace(TINY, batch=64), "tiny"),
        (with_loss(TINY, "saturating"), "tiny, saturating"),
        (with_loss(TINY, "wgan-gp"), "tiny, wgan-gp"),
        (replace(with_loss(TINY, "wgan-gp"), critic_steps=1, penalty=5.0), "tiny, wgan-gp, penalty 5"),
        (replace(TINY, batch_norm=True, lr=0.01), "tiny, batch norm, lr 0.01"),
        (replace(TINY, generator_activations=("tanh", "tanh")), "tiny, generator 2*tanh"),
        (PLAIN, "mine"),
        (replace(PLAIN, batch_norm=True), "mine, batch norm"),
        (replace(preset("mnist-mlp-bn"), batch_norm=False), "mnist-mlp-bn, no batch norm"),
        (preset("mnist-wgan-gp"), "mnist-wgan-gp"),
        (
            GANSpec(name="tiny", generator=(4, 36), discriminator=(36, 1), batch=2),
            "tiny, 4-36 / 36-1",
        ),
    ],
)
def test_a_model_is_called_by_what_differs_from_the_preset_of_its_name(spec, label):
    assert model_label(spec) == label


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"loss": "saturating"}, "tiny, saturating"),
        ({"batch_norm": True}, "tiny, batch norm"),
        ({"discriminator_activations": ["tanh", "identity"]}, "tiny, discriminator tanh-identity"),
        ({"eps": 1e-6}, "tiny, eps 1e-06"),
    ],
)
def test_models_of_one_name_are_told_apart_everywhere(craft, results, real_run, changed, label):
    runs = [craft(results), craft(results, {"torch": 4.0}, spec=real_run[0]["spec"] | changed)]
    table = ganbench.load_results(results)
    for pivot in (ratio_matrix(table), history(table), scaling(table, "threads")):
        assert set(pivot.index.get_level_values("model")) == {"tiny", label}
        assert "older row" not in " ".join(pivot.attrs["notes"])
    assert {row["model"] for row in chart_rows.cells(select(table))} == {"tiny", label}
    for written in (bencher, github_action):
        ours, theirs = (written(open_run(path)) for path in runs)
        assert f'"{label}, float32' in theirs
        assert f'"{label}, float32' not in ours
    with pytest.raises(UsageError, match="cannot be compared: model's"):
        ganbench.diff(*runs)


def test_models_of_one_name_and_other_widths_are_told_apart_by_them(craft, results, real_run):
    spec = real_run[0]["spec"] | {"name": "mine"}
    craft(results, spec=spec)
    assert ratio_matrix(ganbench.load_results(results)).attrs["title"].count("mine,") == 1
    craft(results, spec=spec | {"generator": [8, 20, 36]})
    found = ratio_matrix(ganbench.load_results(results)).index.get_level_values("model")
    assert set(found) == {"mine 8-16-36 / 36-16-1", "mine 8-20-36 / 36-16-1"}


# Shapes


def measured_with(craft, results, real_run, steps, batch):
    spec = real_run[0]["spec"] | CRITIC | {"critic_steps": steps, "batch": batch}
    sizes = {"matmul": [batch, 16, 36], "batch_norm": [batch, 16]}
    craft(results, spec=spec, shapes=sizes | {"gan_iteration": [steps, batch, 8, 16, 36, 16, 1]}, scale=steps * batch)


def test_critic_steps_are_no_batch(craft, results, real_run, ganbench_cli):
    for steps in (1, 3):
        measured_with(craft, results, real_run, steps, 16)
    table = ganbench.load_results(results)
    iterations = table[table["operation"] == "gan_iteration"]
    assert set(iterations["batch"]) == {16}
    assert list(scaling(table, "batch").columns) == [16]
    by_steps = scaling(table, "critic_steps")
    assert list(by_steps.columns) == [1, 3]
    assert set(by_steps.index.get_level_values("operation")) == {"gan_iteration"}
    assert "left out, because they have no critic_steps: adam_step, batch_norm, matmul" in by_steps.attrs["notes"]
    found = select(table)
    assert {row["variable"] for row in chart_rows.varied(found)} == {"critic_steps"}
    cases = {row["case"] for row in chart_rows.cells(found) if row["operation"] == "gan_iteration"}
    assert cases == {"gan_iteration critic_steps 1", "gan_iteration critic_steps 3"}
    code, out, _ = ganbench_cli("report", results, "--by", "critic_steps")
    assert code == 0
    assert "median time by critic_steps" in out


def test_a_critics_batch_is_its_batch(craft, results, real_run):
    for batch in (4, 8):
        measured_with(craft, results, real_run, 5, batch)
    table = ganbench.load_results(results)
    by_batch = scaling(table, "batch")
    assert list(by_batch.columns) == [4, 8]
    assert len(by_batch.loc["gan_iteration"]) == 2  # targets: both batches of each stand in one line
    found = select(table)
    assert {row["variable"] for row in chart_rows.varied(found)} == {"batch"}
    assert {row["case"] for row in chart_rows.cells(found) if row["operation"] == "gan_iteration"} == {
        "gan_iteration batch 4",
        "gan_iteration batch 8",
    }


# Data


def test_data_is_known_by_what_it_holds(tmp_path):
    rows = np.arange(8 * 36.0).reshape(8, 36)
    np.save(tmp_path / "a.npy", rows)
    np.savez_compressed(tmp_path / "b.npz", images=rows)
    np.save(tmp_path / "c.npy", rows + 1)
    same, packed, other = (data_digest(tmp_path / name) for name in ("a.npy", "b.npz", "c.npy"))
    assert same == packed != other
    assert len({same, other, data_digest(None)}) == 3


def test_equal_data_under_two_paths_is_one_case(craft, results):
    runs = [craft(results, data=path, data_digest=64 * "a") for path in ("img.npy", "/workspace/img.npy")]
    assert not ganbench.diff(*runs).empty
    pivot = history(ganbench.load_results(results))
    assert "data" not in pivot.index.names
    assert "/workspace/img.npy" in pivot.attrs["title"]  # its newest name
    assert "8 older rows left out" in " ".join(pivot.attrs["notes"])
    assert bencher(open_run(runs[0])) == bencher(open_run(runs[1]))


def test_other_data_under_one_path_is_another_case(craft, results):
    runs = [craft(results, data="img.npy", data_digest=64 * letter) for letter in "ab"]
    with pytest.raises(UsageError, match=r"data img.npy \(digest aaaaaaaa\) / img.npy \(digest bbbbbbbb\)"):
        ganbench.diff(*runs)
    pivot = ratio_matrix(ganbench.load_results(results))
    assert set(pivot.index.get_level_values("data")) == {"img.npy (digest aaaaaaaa)", "img.npy (digest bbbbbbbb)"}
    assert bencher(open_run(runs[0])) != bencher(open_run(runs[1]))


@pytest.mark.parametrize("earlier", ["", 16 * "c"])
def test_of_runs_that_did_not_record_what_the_data_held_the_path_decides(craft, results, earlier):
    """The digests of earlier runs were of the rows that one batch and seed drew."""
    old = craft(results, data="img.npy", data_digest=earlier)
    new = craft(results, data="img.npy", data_digest=64 * "a")
    elsewhere = craft(results, data="other.npy", data_digest=earlier)
    assert not ganbench.diff(old, new).empty
    with pytest.raises(UsageError, match=r"data img\.npy"):
        ganbench.diff(new, elsewhere)
    pivot = ratio_matrix(ganbench.load_results(results))
    assert set(pivot.index.get_level_values("data")) == {"img.npy", "other.npy"}


def test_two_earlier_runs_of_one_seed_are_compared_by_the_rows_that_they_drew(craft, results):
    one, same, other = (
        craft(results, data=path, data_digest=16 * letter) for path, letter in (("a", "c"), ("b", "c"), ("a", "d"))
    )
    assert not ganbench.diff(one, same).empty
    with pytest.raises(UsageError, match="data a"):
        ganbench.diff(one, other)
    another_seed = craft(results, data="a", data_digest=16 * "e", seed=7)
    assert not ganbench.diff(one, another_seed).empty


# Columns


def test_columns_are_documented():
    """After a change of a column: put what ``columns.document()`` returns into docs/columns.md."""
    assert columns.document() in (ROOT / "docs/columns.md").read_text()


def test_every_column_has_the_type_that_it_declares(craft, results):
    craft(results)
    table = ganbench.load_results(results)
    assert list(table) == columns.COLUMNS
    for name, column in columns.DECLARED.items():
        if column.type in columns.DTYPES:
            assert str(table[name].dtype) == columns.DTYPES[column.type], name
    assert columns.unit_of("median_s") == columns.unit_of("begin_s") == "seconds"
    assert json.dumps([column.meaning for column in columns.DECLARED.values() if not column.meaning]) == "[]"
