"""``ganbench diff``: two runs of one machine, and only what an unpaired comparison can support."""

import json
import math
import random

import pandas as pd
import pytest

import ganbench
from ganbench.errors import StorageError, UsageError
from ganbench.measure import engine
from ganbench.results.statistics import MIN_ROUNDS


def edited(path, change):
    """Apply ``change`` to every line of a run file, as an object."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def levelled(path, noise=0.001, drift=1.0, seed=0):
    """Replace the baseline's scatter by a known one; targets keep being exactly so much faster.

    ``drift`` slows the whole machine in the second half of the rounds.
    """
    rng = random.Random(seed)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    before, level = {}, {}
    for line in lines:
        if line["type"] == "measurement" and line["samples"] and line["target"] == "numpy" and not line["copy"]:
            before[line["operation"], line["round"]] = line["samples"][0]
            slower = drift if line["round"] > 3 else 1.0
            level[line["operation"], line["round"]] = 1e-3 * slower * math.exp(rng.gauss(0, noise))
    for line in lines:
        if line["type"] == "measurement" and line["samples"]:
            case = line["operation"], line["round"]
            line["samples"] = [level[case] * line["samples"][0] / before[case]] * len(line["samples"])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_drift_of_the_machine_cancels_against_the_baseline(craft, results):
    a = levelled(craft(results, {"torch": 2.0}))
    b = levelled(craft(results, {"torch": 2.0}), seed=1, drift=1.3)
    table = ganbench.diff(a, b)
    row = table.loc[("matmul", "torch")]
    assert row["ratio"] < 0.95
    assert (row["relative"], row["relative_low"], row["relative_high"]) == pytest.approx((1, 1, 1), rel=1e-6)
    assert row["verdict"] == "same"
    assert row["basis"] == "against numpy"
    assert table.loc[("matmul", "numpy"), "verdict"] == "baseline"


@pytest.mark.parametrize(("before", "after", "verdict"), [(2.0, 2.6, "faster"), (2.0, 1.6, "slower")])
def test_a_change_of_one_target_is_seen(craft, results, before, after, verdict):
    a, b = levelled(craft(results, {"torch": before})), levelled(craft(results, {"torch": after}), seed=1)
    there, back = ganbench.diff(a, b), ganbench.diff(b, a)
    row, mirrored = (table.loc[("adam_step", "torch")] for table in (there, back))
    assert row["verdict"] == verdict
    assert row["relative"] == pytest.approx(after / before) == pytest.approx(1 / mirrored["relative"])
    assert row["ratio"] == pytest.approx(1 / mirrored["ratio"])
    assert (row["a_s"], row["b_s"]) == (mirrored["b_s"], mirrored["a_s"])
    assert row["a_rounds"] == row["b_rounds"] == 6


def test_a_baseline_of_another_version_leaves_the_times_alone(craft, results):
    a = levelled(craft(results, {"torch": 2.0}, versions={"numpy": "1.0"}))
    b = levelled(craft(results, {"torch": 2.6}, versions={"numpy": "2.0"}), seed=1)
    table = ganbench.diff(a, b)
    assert set(table["basis"]) == {"times alone"}
    assert table["relative"].isna().all()
    assert table.loc[("matmul", "torch"), "verdict"] == "faster"
    notes = " ".join(table.attrs["notes"])
    assert "a hint, not a result" in notes
    assert "numpy 1.0 / 2.0" in notes
    assert "drift" not in notes


def test_another_baseline_leaves_the_times_alone(craft, results):
    a, b = (levelled(craft(results, {"torch": 2.0}, baseline=name)) for name in ("numpy", "torch"))
    table = ganbench.diff(a, b)
    assert set(table["basis"]) == {"times alone"}
    assert "the baselines are numpy / torch" in " ".join(table.attrs["notes"])


def test_versions_and_commits_that_differ_are_shown_not_refused(craft, results, ganbench_cli):
    a = levelled(craft(results, versions={"torch": "2.12"}, commit="a" * 40, dirty=False, seed=1))
    b = levelled(craft(results, versions={"torch": "2.13"}, commit="b" * 40, dirty=True, seed=2), seed=1)
    code, out, err = ganbench_cli("diff", a, b, "--results", results)
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert "commit aaaaaaaa / bbbbbbbb+; seed 1 / 2; torch 2.12 / 2.13" in words
    assert "assumes that numpy is the same at both commits" in words
    assert f"A: {a.stem}, 2026-01-01 00:00 UTC, ended: complete" in out


def other_environment(**changed):
    def change(line):
        if line["type"] == "run":
            line["environment"] |= changed

    return change


def other_spec(**changed):
    def change(line):
        if line["type"] == "run":
            line["spec"] |= changed

    return change


def other_setting(line):
    if line["type"] == "run":
        line["settings"]["engine"] = "1"


def other_device(line):
    if line["type"] == "worker" and line["target"] == "torch":
        line["device_name"] = "H100"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_environment(cpu="Z80"), "processor "),
        (other_environment(gpus=["H100"]), "GPUs none / H100"),
        (other_environment(cpus=[5, 7, 9, 11] * 64), "processors used "),
        (other_environment(virtual="perhaps"), "virtual machine "),
        (other_spec(batch=17), "model's batch 16 / 17"),
        (other_spec(loss="saturating"), "model's loss non-saturating / saturating"),
        (other_setting, f"engine {engine.VERSION} / 1"),
        (other_device, "device of torch "),
    ],
)
def test_what_must_not_be_pooled_is_refused_by_name(craft, results, ganbench_cli, change, named):
    a, b = craft(results), edited(craft(results), change)
    code, out, err = ganbench_cli("diff", a, b)
    assert (code, out) == (2, "")
    assert f"(A / B) cannot be compared: {named}" in err
    assert "; " not in err


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"machine": "there"}, "machine here / there"),
        ({"dtype": "float64"}, "dtype float32 / float64"),
        ({"precision": "tf32"}, "precision ieee / tf32"),
        (
            {"data": "mine.npy", "data_digest": 64 * "a"},
            f"/ mine.npy (digest {8 * 'a'})",
        ),
        ({"threads": 64}, " / 64"),
        ({"shapes": {"matmul": [1, 2, 3]}}, "shape of matmul 16x16x36 / 1x2x3"),
    ],
)
def test_another_context_is_refused_by_name(craft, results, fields, named):
    with pytest.raises(UsageError) as error:
        ganbench.diff(craft(results), craft(results, **fields))
    assert named in str(error.value)


def test_when_a_run_was_told_to_stop_does_not_matter(craft, results):
    def change(line):
        if line["type"] == "run":
            line["settings"] |= {"budget_s": 1.0, "goal": 0.5, "rounds": 99}

    assert len(ganbench.diff(craft(results), edited(craft(results), change)))


def test_failed_and_missing_targets_are_named(craft, results, ganbench_cli):
    a = craft(results, {"torch": 2.0, "jax": 3.0}, statuses={("matmul", "torch"): "failed"})
    b = craft(results, {"torch": 2.0, "torch.textbook": 1.0})
    table = ganbench.diff(a, b)
    assert set(table.index.get_level_values("target")) == {"numpy", "torch"}
    row = table.loc[("matmul", "torch")]
    assert row["verdict"] == ""
    assert row["reason"] == "failed in A: torch went wrong"
    assert math.isnan(row["ratio"])
    code, out, _ = ganbench_cli("diff", a, b)
    assert code == 0
    assert "see below" in out
    assert "torch: failed in A: torch went wrong" in out
    assert "only in A: jax/matmul" in out
    assert "only in B: torch.textbook/matmul" in out


def test_nothing_in_common_is_a_usage_error(craft, results):
    a, b = craft(results, operations=["matmul"]), craft(results, operations=["adam_step"])
    with pytest.raises(UsageError, match=r"nothing in common: A numpy/matmul, torch/matmul; B numpy/adam_step"):
        ganbench.diff(a, b)


@pytest.mark.parametrize("which", ["one run", "between the runs"])
def test_a_control_that_failed_leaves_everything_undecided(craft, results, which):
    def disturb(factor):
        def change(line):
            if line["type"] == "measurement" and line["copy"]:
                line["samples"] = [factor * seconds for seconds in line["samples"]]

        return change

    a, b = levelled(craft(results, {"torch": 2.0})), levelled(craft(results, {"torch": 4.0}))
    # Each within the band, but too far from one another, or one of them beyond it.
    edited(a, disturb(1.015 if which == "between the runs" else 1.0))
    edited(b, disturb(1 / 1.015 if which == "between the runs" else 1.1))
    table = ganbench.diff(a, b)
    assert table.loc[("matmul", "torch"), "verdict"] == "control failed"
    assert "beyond 2% on matmul" in " ".join(note for note in table.attrs["notes"] if note.startswith("control"))


def test_too_few_rounds_decide_nothing(craft, results):
    a, b = craft(results, {"torch": 2.0}), craft(results, {"torch": 4.0})
    for path in (a, b):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line).get("round", 0) < MIN_ROUNDS))
    table = ganbench.diff(a, b)
    assert set(table["verdict"]) == {"baseline", "undecided"}


def test_the_table_fits_a_hundred_columns(craft, results, ganbench_cli):
    names = {"torch.textbook@cuda:1": 1.0, "torch": 0.01}
    a, b = craft(results, names, scale=20.0), craft(results, names)
    code, out, _ = ganbench_cli("diff", a, b)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "torch.textbook@cuda:1 " in out
    assert "…" not in out


def test_every_format_holds_the_same(craft, results, ganbench_cli, tmp_path):
    a, b = levelled(craft(results)), levelled(craft(results), seed=1)
    table = ganbench.diff(a.stem, b.stem, results)
    pd.testing.assert_frame_equal(table, ganbench.diff(ganbench_open(a), ganbench_open(b)))
    for form in ("csv", "json"):
        code, out, err = ganbench_cli("diff", a.stem, b.stem, "--results", results, "--format", form)
        assert code == 0
        assert "drift from A to B (numpy itself)" in err
        read = json.loads(out) if form == "json" else None
        if read:
            assert [row["relative"] for row in read if row["target"] == "torch"] == [
                value for value in table["relative"] if not math.isnan(value)
            ]
    code, out, _ = ganbench_cli("diff", a, b, "--export", tmp_path / "x.md", "--export", tmp_path / "x.csv")
    assert (code, out.splitlines()[4].split()[:2]) == (0, ["operation", "target"])
    assert (tmp_path / "x.csv").read_text() == table.reset_index().to_csv(index=False)
    shown = (tmp_path / "x.md").read_text()
    assert "| operation | target | A | B | speed | against numpy | verdict |" in shown
    assert "control (numpy / its second copy, B relative to A)" in shown


def ganbench_open(path):
    from ganbench.results.run import open_run

    return open_run(path)


def test_one_run_has_no_difference(craft, results):
    path = craft(results)
    with pytest.raises(UsageError, match="the same run"):
        ganbench.diff(path, path)


def test_a_torn_run_is_compared_and_said(craft, results, ganbench_cli):
    a, b = craft(results), craft(results)
    b.write_text(b.read_text()[:-20])
    code, out, err = ganbench_cli("diff", a, b)
    assert code == 0
    assert "is incomplete" in err
    assert "ended: interrupted" in out


@pytest.mark.parametrize("content", ["", "\x00\xff", "{}", "[[[", '{"type": "run", "format": 99}', "hello"])
def test_what_is_no_run_is_named(craft, results, ganbench_cli, content):
    path = craft(results)
    foreign = results / "foreign.jsonl"
    foreign.write_text(content)
    code, out, err = ganbench_cli("diff", path, foreign)
    assert (code, out) == (1, "")
    assert str(foreign) in err


def test_an_impossible_time_is_named(craft, results):
    def change(line):
        if line.get("samples"):
            line["samples"][0] = 0.0

    with pytest.raises(StorageError, match="a time of 0 s"):
        ganbench.diff(craft(results), edited(craft(results), change))


def test_unknown_runs_and_folders_are_named(craft, results, ganbench_cli):
    path = craft(results)
    code, _, err = ganbench_cli("diff", path, "1999", "--results", results)
    assert code == 2
    assert f"newest: {path.stem}" in err
    assert ganbench_cli("diff", path)[0] == 2
    assert ganbench_cli("diff", path, path, "--export", results / "none" / "x.md")[0] == 2


@pytest.mark.workers
def test_two_real_runs_are_compared(tmp_path, ganbench_cli):
    for _ in range(2):
        ganbench.compare(
            "numpy,numpy.inplace", preset="tiny", ops=["adam_step"], rounds=1, results=tmp_path, ceilings=False
        )
    a, b = sorted(tmp_path.glob("*/compare/*.jsonl"))
    code, out, _ = ganbench_cli("diff", a, b)
    assert code == 0
    assert "undecided (1 round)" in out
