"""One table of hardware, and machines of one kind held against one another: from crafted runs of known speeds."""

import csv
import io
import json

import pytest

import ganbench
from ganbench.report.across import across
from ganbench.report.measured import measured, runs_below


@pytest.fixture
def three(craft, tmp_path):
    """Two equal machines, and one that takes twice as long; all of one kind, by what their runs record."""
    for name, scale in (("node-1", 1.0), ("node-2", 1.0), ("node-3", 2.0)):
        craft(tmp_path, machine=name, scale=scale)
    return tmp_path


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_hardware_stands_side_by_side_unpaired(three, ganbench_cli):
    code, out, _ = ganbench_cli("report", three, "--across")
    assert code == 0
    assert "3 machines, speed relative to node-1, unpaired" in out
    rows = rows_of(ganbench_cli("report", three, "--across", "--format", "csv")[1])
    assert len(rows) == 3 * 4 * 2  # machines, operations, targets
    speeds = {(row["machine"], row["verdict"]): float(row["speed"]) for row in rows}
    assert speeds["node-3", "slower"] == pytest.approx(0.5, rel=0.05)
    assert speeds["node-1", "baseline"] == 1
    assert all(float(row["ratio"]) == pytest.approx(2, rel=0.01) for row in rows if row["target"] == "torch")


def test_what_a_machine_is_not_compared_with_says_nothing_of_it(three, ganbench_cli):
    """Of the first machine a run's own ratio is known, which could be told apart, but no speed against another."""
    rows = rows_of(ganbench_cli("report", three, "--across", "--format", "csv")[1])
    assert {row["detectable"] for row in rows if row["machine"] == "node-1"} == {""}
    assert "" not in {row["detectable"] for row in rows if row["machine"] == "node-3"}


def test_notes_tell_machines_of_one_name_apart(craft, real_run, tmp_path):
    for cpu, version in (("Left One", "1"), ("Right One", "2"), ("Third One", "3")):
        made_of = real_run[0]["environment"] | {"cpu": cpu}
        craft(tmp_path, machine="box", environment=made_of, version=version)
    notes = across(measured(ganbench.load_results(tmp_path), runs_below(tmp_path)), None).attrs["notes"]
    told = [note.partition(":")[0] for note in notes if note.startswith("differs")]
    names = [f"box (2x {cpu} One)" for cpu in ("Left", "Right", "Third")]
    assert told == [f"differs ({names[0]} / {other})" for other in names[1:]]


def test_a_machine_that_differs_from_its_equals_is_named(three, ganbench_cli):
    code, out, _ = ganbench_cli("report", three, "--by", "machine")
    assert code == 0
    assert "do equal machines give equal results? 3 machines" in out
    rows = rows_of(ganbench_cli("report", three, "--by", "machine", "--format", "csv")[1])
    assert {row["machine"] for row in rows if row["verdict"] == "slower"} == {"node-3"}


def test_cold_caches_are_left_out(craft, tmp_path, ganbench_cli):
    craft(tmp_path, machine="node-1")
    craft(tmp_path, machine="node-2", caches="cold")
    assert "node-2" not in ganbench_cli("report", tmp_path, "--across")[1]


def test_machines_may_differ_in_the_variables_that_tune_a_library(craft, real_run, tmp_path):
    tuned = real_run[0]["environment"] | {"tuning": ["OMP_PROC_BIND=true", "OMP_WAIT_POLICY=active"]}
    craft(tmp_path, machine="node-1", environment=tuned | {"tuning": []})
    craft(tmp_path, machine="node-2", environment=tuned)
    notes = across(measured(ganbench.load_results(tmp_path), runs_below(tmp_path)), "node-1").attrs["notes"]
    assert "tuning variables none / OMP_PROC_BIND=true,OMP_WAIT_POLICY=active" in notes[-1]


def test_what_the_table_carries_is_small(three):
    """Pandas copies what a table carries whenever a row is taken: with runs in it, a report took a minute."""
    found = across(measured(ganbench.load_results(three), runs_below(three)), None)
    assert len(json.dumps(found.attrs)) < 10_000


def test_each_line_has_the_speeds_of_its_own_threads(craft, tmp_path):
    """A run that stands in two lines, as the most of its machine and beside equal threads, has a speed in each."""
    craft(tmp_path, machine="node-1", threads=1)
    craft(tmp_path, machine="node-1", threads=2, scale=0.5)
    craft(tmp_path, machine="node-2", threads=1)
    parts = across(measured(ganbench.load_results(tmp_path), runs_below(tmp_path)), "node-1").attrs["parts"]
    said = {heading.rsplit(", ")[-1]: lines[0][2] for heading, lines in parts.items()}
    assert "\n1.00 " in said["1 thread"]
    assert "\n0.50 " in said["most threads of each"]
