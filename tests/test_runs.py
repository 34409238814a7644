"""``ganbench results``: the runs that were kept are listed, shown again and packed."""

import json

import pandas as pd
import pytest

import ganbench
from ganbench.errors import UsageError
from ganbench.report import pack
from ganbench.report.notebook import to_html
from ganbench.results.run import open_run


@pytest.mark.workers
def test_show_prints_what_compare_printed(tmp_path, ganbench_cli, craft):
    code, printed, _ = ganbench_cli(
        "compare", "--backends", "numpy", "--preset", "tiny", "--rounds", "1", "--ops", "matmul", "--results", tmp_path
    )
    assert code == 0
    path = next(tmp_path.glob("*/compare/*.jsonl"))
    for name in (path, path.stem, path.stem[:-1]):
        assert ganbench_cli("results", "show", name, "--results", tmp_path)[:2] == (0, printed)
    code, out, _ = ganbench_cli("results", "show", path, "--format", "json")
    assert json.loads(out)[0]["target"] == "numpy"


def test_show_refuses_what_is_no_run_or_several(craft, results, ganbench_cli):
    one, other = craft(results), craft(results)
    code, _, err = ganbench_cli("results", "show", "1999", "--results", results)
    assert code == 2
    assert f"newest: {other.stem}, {one.stem}" in err
    code, _, err = ganbench_cli("results", "show", "2026", "--results", results)
    assert code == 2
    assert str(one) in err
    assert str(other) in err
    assert ganbench_cli("results", "show", "x", "--results", results / "nowhere")[0] == 1


def test_a_run_cut_off_at_once_is_listed_and_shown(craft, results, ganbench_cli):
    path = craft(results)
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    code, out, _ = ganbench_cli("results", "list", results)
    assert code == 0
    assert " 0      interrupted " in out
    code, out, _ = ganbench_cli("results", "show", path)
    assert code == 0
    assert out.startswith("tiny (8-16-36 / 36-16-1, batch 16)")
    assert to_html(open_run(path))
    assert ganbench_cli("report", results)[0] == 2


def test_list_has_a_line_for_each_run(craft, results, ganbench_cli):
    whole, torn = craft(results), craft(results, machine="there", end=False, rigor="full")
    code, out, err = ganbench_cli("results", "list", results)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    head, *lines = (line.split() for line in out.splitlines())
    assert head == ["run", "machine", "rigor", "rounds", "ended", "size", "measured"]
    named = [line for line in lines if line[0] in (whole.stem, torn.stem)]
    assert [line[:5] for line in named] == [  # the newest first
        [torn.stem, "there", "full", "6", "interrupted"], [whole.stem, "here", "quick", "6", "complete"],
    ]  # fmt: skip
    measured = " ".join(" ".join(line[7:] if line in named else line) for line in lines)
    assert measured == " ".join(["tiny: 4 operations on numpy, torch"] * 2)
    code, out, err = ganbench_cli("results", "list", results / "here" / "compare")
    assert "no runs in" in err


def test_packed_results_read_back_equal(craft, results, tmp_path, ganbench_cli):
    craft(results, statuses={("matmul", "torch"): "failed"})
    craft(results, machine="there")
    table = ganbench.load_results(results)
    code, out, _ = ganbench_cli("results", "pack", results, "--output", tmp_path / "packed")
    assert code == 0
    assert out.startswith("16 rows in 2 files")
    assert {path.name for path in (tmp_path / "packed").iterdir()} == {"machine=here", "machine=there"}
    read = pd.read_parquet(tmp_path / "packed").astype({"machine": "string"})[list(table.columns)]
    read = read.sort_values(["run_id", "target", "operation"], ignore_index=True)
    table = table.sort_values(["run_id", "target", "operation"], ignore_index=True)
    pd.testing.assert_frame_equal(read.drop(columns="samples"), table.drop(columns="samples"))
    for was, now in zip(table["samples"], read["samples"], strict=True):
        assert was == list(now) if isinstance(was, list) else now is None
    import pyarrow.dataset

    schema = pyarrow.dataset.dataset(tmp_path / "packed", partitioning="hive").schema
    assert str(schema.field("samples").type).startswith("list<")
    assert schema.field("samples").type.value_type == "double"


def test_pack_never_mixes_with_what_is_there(craft, results, tmp_path):
    craft(results)
    table = ganbench.load_results(results)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "precious").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        pack(table, tmp_path / "packed")
    with pytest.raises(UsageError, match="no results to pack"):
        pack(table[:0], tmp_path / "other")
    with pytest.raises(UsageError, match="cannot write"):
        pack(table, tmp_path / "packed" / "precious" / "below")
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("results", "show", ""), "no run: its name is empty: is a variable of the shell not set?"),
        (("results", "show", "r"), "no run: 'r' is a folder; name a file or an id: 'ganbench results list r' shows"),
        (("report", "r", "--machine", ""), "unknown machine in these results '' (known: here)"),
        (("report", "r", "--ops", ""), "unknown operation in these results ''"),
        (("report", ""), "it is empty: is a variable of the shell not set?"),
        (("report", "x" * 300), "is no path: File name too long"),
    ],
)
def test_a_variable_that_is_not_set_names_nothing(craft, tmp_path, monkeypatch, ganbench_cli, arguments, words):
    craft(tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    code, out, err = ganbench_cli(*arguments)
    assert (code, out) == (2, "")
    assert words in err
