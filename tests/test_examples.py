"""The examples are run as a reader runs them: beside a results folder, with nothing else."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from patience import LIMIT_S

import ganbench

pytestmark = pytest.mark.workers

ROOT = Path(__file__).resolve().parents[1]
EXECUTE = """
import nbformat, sys
from nbclient import NotebookClient
notebook = nbformat.read("examples/report.ipynb", 4)
NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "examples"}}).execute()
nbformat.write(notebook, "executed.ipynb")
"""


@pytest.fixture
def clone(tmp_path):
    """A folder with the examples and the results of this repository."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.wav"))
    shutil.copytree(ROOT / "results", tmp_path / "results")
    return tmp_path


def run(clone, *arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=clone, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kept", ["committed", "failing"])
def test_report_script(clone, craft, kept):
    if kept == "failing":
        shutil.rmtree(clone / "results")
        craft(clone / "results", statuses={("matmul", "torch"): "failed", ("adam_step", "numpy"): "invalid"})
    out = run(clone, "examples/report.py")
    matrix = ganbench.report.ratio_matrix(ganbench.load_results(clone / "results"))
    assert matrix.attrs["title"] in out
    rows = list(csv.DictReader((clone / "ratios.csv").read_text().splitlines()))
    assert [row["operation"] for row in rows] == list(matrix.reset_index()["operation"])
    shown = ["" if pd.isna(value) else str(value) for value in matrix["torch"]]  # not every context has this target
    assert [row["torch"] for row in rows] == shown
    if kept == "failing":
        assert {row["numpy"] for row in rows} <= {"1.0", "invalid", "3 of 4"}
    assert (clone / "ratios.html").exists() == ("wrote ratios.html" in out)


def test_query_of_packed_results(clone):
    table = ganbench.load_results(clone / "results")
    lines = run(clone, "examples/query_parquet.py").splitlines()
    assert lines[0].split()[:4] == ["machine", "source", "operation", "target"]
    case = "machine source preset operation shape target dtype precision threads framework_version".split()
    assert len(lines) - 1 == len(table[table["median_s"].notna()].drop_duplicates(case))  # after `make compare` too


def test_notebook(clone):
    run(clone, "-c", EXECUTE)
    notebook = nbformat.read(clone / "executed.ipynb", 4)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in shown if output.output_type == "error"] == []
    pages = "".join(output.data.get("text/html", "") for output in shown if "data" in output)
    title = ganbench.report.ratio_matrix(ganbench.load_results(clone / "results")).attrs["title"]
    assert title.partition(" (")[0] in pages  # the baseline of whatever results are kept
    assert "geometric mean" in pages
    assert (clone / "examples" / "ratios.csv").exists()


def test_notebook_is_kept_without_outputs():
    notebook = nbformat.read(ROOT / "examples" / "report.ipynb", 4)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_reframe(clone):
    """ReFrame's own local system runs the test, and has its performance."""
    settings = {"backends": "numpy,numpy.inplace", "ops": "matmul", "more": "--rounds 6"}
    chosen = [part for name, value in settings.items() for part in ("-S", f"GanbenchTest.{name}={value}")]
    program = Path(sys.executable).parent
    done = subprocess.run(
        [program / "reframe", "-c", "examples/reframe/ganbench_test.py", "-r", "--performance-report", *chosen],
        cwd=clone, env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}", "HOME": str(clone)},
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for name in ("ratio_low", "ratio", "ratio_high"):
        assert re.search(rf"P: matmul\.numpy\.inplace\.{name}: [\d.e-]+ x numpy", done.stdout), done.stdout
    assert len(list(clone.glob("output/**/results/*/compare/*.jsonl"))) == 1
