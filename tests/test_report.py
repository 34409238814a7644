"""``ganbench report``: every format holds the same, and what cannot be reported is said."""

import csv
import json
import re
import subprocess
import sys

import pandas as pd
import pytest

import ganbench
from ganbench.machine.environment import usable_cpus
from ganbench.report import PIVOT_FORMATS, history, ratio_matrix, scaling
from ganbench.report.choices import ENDINGS
from ganbench.report.formats import readable, render

# The command


def test_report_in_every_format_holds_the_same(craft, results, ganbench_cli, tmp_path):
    craft(results, {"torch": 2.0, "jax": 1 / 3}, statuses={("matmul", "torch"): "failed"})
    craft(results, {"torch": 1.5}, dtype="float64")
    for by, pivot in (
        ("ratio", ratio_matrix(ganbench.load_results(results))),
        ("dtype", scaling(ganbench.load_results(results), "dtype")),
        ("commit", history(ganbench.load_results(results))),
    ):
        flat = pivot.reset_index()
        flat.columns = flat.columns.astype(str)
        found = {
            form: tmp_path / f"{by}{ending}" for ending, form in ENDINGS.items() if form in (*PIVOT_FORMATS, "parquet")
        }
        asked = [word for file in found.values() for word in ("--export", file)]
        for form in PIVOT_FORMATS:
            code, out, err = ganbench_cli("report", results, "--by", by, "--format", form, *asked)
            assert code == 0, err
            assert (pivot.attrs["title"] in err) == (form in ("csv", "json"))
            assert out == found[form].read_text()
        assert _same(pd.DataFrame(csv.DictReader(found["csv"].read_text().splitlines())), flat)
        assert _same(pd.DataFrame(json.loads(found["json"].read_text())), flat)
        assert _same(_from_parquet(found["parquet"]), flat)
        shown = [list(readable(pivot).columns), *readable(pivot).to_numpy().tolist()]
        assert _from_markdown(found["markdown"].read_text()) == shown
        assert _from_latex(found["latex"].read_text()) == shown
        assert pivot.attrs["title"] in found["markdown"].read_text()
        text = found["table"].read_text()
        # A table has a part for each context, whose head says what is a column elsewhere; ``3 of 4`` is left out.
        # So are the names of columns that hold nothing.
        first, empty = pivot.index.names.index("operation"), set(pivot.columns[pivot.isna().all()])
        cells = {cell for line in shown for cell in line[first:] if " of " not in cell}
        for cell in {*cells, "float32", "float64"} - empty - {"operation", "geometric mean"}:
            assert cell in text


def _same(read, flat):
    """Whether what was read back has the cells of the pivot: numbers to the last bit, words as they are."""
    assert list(read.columns) == list(flat.columns)
    for name in flat:
        for was, now in zip(flat[name], read[name], strict=True):
            if not isinstance(was, str) and pd.isna(was):
                assert now == "" or pd.isna(now), name
            elif isinstance(was, pd.Timestamp):
                assert str(was) == str(now)
            else:
                assert was == type(was)(now), name
    return True


def _from_parquet(path):
    table = pd.read_parquet(path)
    for name in [name for name in table if name.endswith(" status")]:
        number = table[name.removesuffix(" status")].astype(object)
        table[name.removesuffix(" status")] = number.where(table[name].isna(), table[name])
        table = table.drop(columns=name)
    return table


def _from_markdown(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if "---" not in line]


def _from_latex(text):
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r"\\")]
    plain = [[cell.strip() for cell in line.replace(r"\&", "\0").split("&")] for line in lines]
    return [[cell.replace("\0", "&").replace(r"\_", "_").replace(r"\%", "%") for cell in line] for line in plain]


def test_latex_escapes_its_caption(craft, results):
    craft(results, machine="here_and_100%")
    assert r"here\_and\_100\%" in render(ratio_matrix(ganbench.load_results(results)), "latex")


def test_report_chooses_rows(craft, results, ganbench_cli):
    craft(results)
    craft(results, machine="there")
    code, out, _ = ganbench_cli(
        "report",
        results,
        "--machine",
        "there",
        "--source",
        "compare",
        "--ops",
        "matmul,adam_step",
        "--baseline",
        "torch",
    )
    assert code == 0
    threads = len(usable_cpus())
    assert out.startswith(f"there, tiny, float32 ieee, {threads} thread{'s' * (threads > 1)}, measured by compare, ")
    assert out.splitlines()[2] == "speed relative to torch"
    assert re.findall(r"^(\w*) +(torch|numpy) .*s ", out, re.M) == [
        ("matmul", "torch"), ("", "numpy"), ("adam_step", "torch"), ("", "numpy"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--by", "size"], "'ratio', 'batch', 'critic_steps', 'threads', 'dtype', 'commit'"),
        (["--baseline", "jax"], "baseline 'jax' is not among the targets measured (numpy, torch)"),
        (["--by", "batch", "--baseline", "torch"], "--baseline belongs to --by ratio"),
        (["--ops", "conv"], "'conv' (known: adam_step, batch_norm, gan_iteration, matmul)"),
        (["--machine", "x"], "'x' (known: here)"),
        (["--source", "asv"], "'asv' (known: compare)"),
        (["--format", "xml"], "'markdown'"),
        (["--format", "parquet"], "'parquet' is not one of"),
        (["--export", "/nowhere/x.csv"], "does not exist"),
        (["--export", "x.xls"], "cannot write x.xls: the name of such a file ends in one of .txt, .md, .csv, .tex, "),
        (["--export", "x.bmf.json"], "cannot write x.bmf.json: the name of such a file ends in one of .txt, .md, "),
    ],
)
def test_a_report_that_cannot_be_is_exit_2(craft, results, ganbench_cli, arguments, named):
    craft(results)
    code, out, err = ganbench_cli("report", results, *arguments)
    assert code == 2
    assert named in err
    assert out == ""


def test_a_folder_without_results(results, ganbench_cli):
    assert ganbench_cli("report", results)[0] == 1
    results.mkdir()
    code, _, err = ganbench_cli("report", results)
    assert code == 2
    assert "run 'ganbench compare'" in err


def test_damaged_files_are_named_and_the_rest_is_reported(craft, results, ganbench_cli):
    craft(results)
    (results / "here" / "compare" / "bad.jsonl").write_text("{")
    for command in ("report", "results list"):
        code, out, err = ganbench_cli(*command.split(), results)
        assert code == 0
        assert "bad.jsonl is not a ganbench run" in err
        assert "warn" not in err.lower()
        assert ("4 operations" if "list" in command else "matmul") in out


@pytest.mark.workers
@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("pyarrow", "report --export x.parquet"),
        ("jinja2", "report --format latex"),
        ("pyarrow", "results pack --output x"),
    ],
)
def test_a_missing_extra_is_named(craft, tmp_path, missing, arguments):
    craft(tmp_path / "results")
    code = f"import sys; sys.modules[{missing!r}] = None; import ganbench.cli; ganbench.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'pip install "ganbench[report]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("x*"))


def test_a_styler_without_jinja2_says_what_to_install(craft, tmp_path):
    craft(tmp_path)
    code = (
        "import sys; sys.modules['jinja2'] = None; import ganbench\n"
        f"matrix = ganbench.report.ratio_matrix(ganbench.load_results({str(tmp_path)!r}))\n"
        "try: ganbench.report.style(matrix)\n"
        "except ganbench.GanbenchError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "ganbench[report]"' in done.stdout
