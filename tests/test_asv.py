"""Plain ``asv run`` in a clone with an empty home: real asv, real processes, and results that are read back."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from patience import LIMIT_S
from pythons import made

import ganbench
from ganbench.errors import StorageError
from ganbench.results.asv import read_asv
from ganbench.results.store import DamagedResultsWarning
from ganbench.results.table import COLUMNS

pytestmark = [pytest.mark.asv, pytest.mark.timeout(6000)]

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("asv")

# Hides a framework from every process: what is installed and what is missing is a matter of the machine.
HIDE_JAX = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "jax":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Hide())
import importlib.util as util
found = util.find_spec
util.find_spec = lambda name, package=None: None if name.partition(".")[0] == "jax" else found(name, package)
"""


def asv(clone, *arguments, env=None):
    """Run asv in a clone, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "asv", *arguments],
        cwd=clone,
        env={**os.environ, "HOME": str(clone.parent / "home"), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * LIMIT_S,
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A repository of its own with the files of this one, committed, and an empty home folder beside it."""
    folder = tmp_path_factory.mktemp("asv")
    (folder / "home").mkdir()
    repository = folder / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(("results/", "tests/")):
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


@pytest.fixture(scope="module")
def measured(clone):
    """One run of the adam suite, jax hidden."""
    hidden = clone.parent / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE_JAX)
    path = os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", "")])
    return asv(clone, "run", "--record-samples", "-b", "AdamStep", env={"PYTHONPATH": path})


def result_files(clone):
    return [p for p in clone.glob("results/*/*.json") if p.name not in ("machine.json", "benchmarks.json")]


def test_plain_run_asks_nothing_and_saves(clone, measured):
    assert measured.returncode == 0, measured.stdout + measured.stderr
    (file,) = result_files(clone)
    assert file.parent.name == ganbench.load_results(clone / "results")["machine"].iloc[0]
    assert "numpy" in file.name


def test_missing_framework_is_na_and_leaves_the_rest_intact(clone, measured):
    table = ganbench.load_results(clone / "results").set_index(["shape", "target", "dtype"])
    assert list(table.reset_index()["source"].unique()) == ["asv"]
    assert table.loc[("218128", "jax", "float32"), "status"] == "unavailable"
    for target in ("numpy", "torch"):
        row = table.loc[("218128", target, "float32")]
        assert row["status"] == "ok"
        assert row["gflops"] == pytest.approx(row["flops"] / row["median_s"] / 1e9)
        assert row["ci_low_s"] <= row["median_s"] <= row["ci_high_s"]
        assert len(row["samples"]) == 12
        assert row["operation"] == "adam_step"
        assert row["flops"] == 12 * 218128


def test_same_columns_as_compare(clone, measured, tmp_path):
    ganbench.compare(["numpy"], preset="tiny", ops=["adam_step"], rounds=1, ceilings=False, results=clone / "results")
    table = ganbench.load_results(clone / "results")
    assert list(table.columns) == COLUMNS
    assert set(table["source"]) == {"asv", "compare"}
    shutil.rmtree(next(clone.glob("results/*/compare")))


def test_other_commits_are_refused_with_a_clear_message(clone, measured):
    (clone / "LICENSE").write_text("changed")
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "2"], cwd=clone, check=True
    )
    done = asv(clone, "run", "-b", "AdamStep", "HEAD~1^!")
    assert done.returncode != 0
    assert "asv.virtualenv.json" in done.stdout + done.stderr
    subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"], cwd=clone, check=True)


def test_another_python_measures_what_it_has(clone, measured):
    python, packages = made(clone.parent / "other python")
    environment = ("--environment", f"current:{python}", "-b", "AdamStep")
    lacking = asv(clone, "run", *environment)
    assert lacking.returncode != 0
    assert "-m pip install --no-deps" in lacking.stdout + lacking.stderr
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    here = set(result_files(clone))
    done = asv(clone, "run", *environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = set(result_files(clone)) - here  # here JAX is hidden, there it is not
    assert f"py{sys.version_info[0]}.{sys.version_info[1]}-" in file.name
    assert "jax" in file.name
    assert "other" not in file.name  # no path of this machine
    file.unlink()


def test_publish_writes_index_and_data_for_every_benchmark(clone, measured):
    done = asv(clone, "publish")
    assert done.returncode == 0, done.stdout + done.stderr
    html = clone / ".asv" / "html"
    assert (html / "index.html").stat().st_size > 0
    index = json.loads((html / "index.json").read_text())
    known = json.loads((clone / "results" / "benchmarks.json").read_text())
    assert set(index["benchmarks"]) == {name for name in known if name != "version"}
    (file,) = result_files(clone)
    measured_names = list(json.loads(file.read_text())["results"])
    assert measured_names
    for name in measured_names:
        graphs = [json.loads(path.read_text()) for path in html.glob(f"graphs/**/{name}.json")]
        assert any(graphs)


def test_show_and_compare_work(clone, measured):
    assert "adam_step" in asv(clone, "show", "HEAD").stdout
    assert asv(clone, "compare", "HEAD", "HEAD").returncode == 0


def test_any_cut_of_an_asv_file_is_named_and_skipped(clone, measured, tmp_path):
    (file,) = result_files(clone)
    content = file.read_bytes()
    for kept in (0, 1, len(content) // 2, len(content) - 2):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "torn.json").write_bytes(content[:kept])
        with pytest.warns(DamagedResultsWarning, match=r"torn\.json"):
            assert len(ganbench.load_results(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"version": 99}, "format 99"),
        ({"result_columns": None}, "does not hold what asv writes"),
        ({"params": {}}, "does not hold what asv writes"),
        (
            {"results": {"adam_step.AdamStep.track_call": [None, [["'1'"] * 2000] * 3, "1", 0]}},
            "more than 1,000,000 cases",
        ),
        ({"results": {"adam_step.AdamStep.track_call": [[1.0]]}}, "does not hold what asv writes"),
    ],
)
def test_foreign_and_newer_files_are_named(clone, measured, tmp_path, change, fault):
    (file,) = result_files(clone)
    content = json.loads(file.read_text()) | change
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with pytest.raises(StorageError, match=fault):
        read_asv(tmp_path / "odd.json")


def test_a_hundred_thousand_rows_load(clone, measured, tmp_path, record_property):
    (file,) = result_files(clone)
    rows = len(read_asv(file))
    copies = -(-100_000 // rows)
    content = json.loads(file.read_text())
    name, stored = next(iter(content["results"].items()))
    del stored[content["result_columns"].index("samples") :]
    shapes = [f"'{n}'" for n in range(2, 2 + copies)]
    targets, dtypes = stored[1][1:]
    per_shape = len(targets) * len(dtypes)
    stored[1][0] = shapes
    for index, column in enumerate(stored):
        if isinstance(column, list) and index != 1:
            stored[index] = (column[:per_shape] * copies)[: per_shape * copies]
    content["results"] = {name: stored}
    (tmp_path / "big.json").write_text(json.dumps(content))
    started = time.process_time()
    table = ganbench.load_results(tmp_path)
    record_property("cpu_seconds", time.process_time() - started)
    assert len(table) == per_shape * copies
    assert isinstance(table["median_s"].dtype, np.dtype)
    assert isinstance(table["timestamp"].dtype, pd.DatetimeTZDtype)
