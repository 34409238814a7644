"""What a person sees in a terminal: a page of 100 columns, colours only where they are seen, intervals as drawn."""

import fcntl
import math
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given

import ganbench
from ganbench.cli import terminal
from ganbench.report.export import render
from ganbench.report.intervals import MOST, drawing
from ganbench.report.relative import fastest
from ganbench.report.text import Screen
from ganbench.results.run import open_run
from ganbench.results.table import run_table

ROOT = Path(__file__).resolve().parents[1]
NINE = ROOT / "results/epyc-2c/compare/20261127T024848Z-7bcc.jsonl"  # targets
ANOTHER = ROOT / "results/epyc-2c/compare/20261127T111631Z-4669.jsonl"  # of the same model
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(*arguments, columns=140, **environment):
    """Run the command in a terminal so many columns wide; return what it prints there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    env |= {"TERM": "xterm-256color", **environment}
    command = [Path(sys.executable).with_name("ganbench"), *map(str, arguments)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=env, cwd=os.sep) as process:
        os.close(theirs)
        found = b""
        try:
            while part := os.read(ours, 65536):
                found += part
        except OSError:  # the other end is closed
            pass
        assert re.fullmatch("(ganbench: reading .*\n)?", process.stderr.read().decode())
        assert process.wait() == 0
    os.close(ours)
    return found.decode().replace("\r\n", "\n")


# One context at a time


def test_the_repositorys_own_results_fit_a_page(ganbench_cli):
    code, out, _ = ganbench_cli("report", ROOT / "results")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "unavailable" not in out


def test_the_newest_machine_stands_first_and_each_context_has_its_own_baseline(craft, tmp_path, ganbench_cli):
    craft(tmp_path, {"torch": 2.0}, machine="old")
    craft(tmp_path, {"torch": 3.0}, machine="new", dtype="float64", baseline="torch")
    craft(tmp_path, {"torch": 4.0}, machine="new")
    code, out, _ = ganbench_cli("report", tmp_path)
    assert code == 0
    heads = [line for line in out.splitlines() if ", tiny, " in line]
    assert [(line.split(",")[0], line.split(",")[2].split()[0]) for line in heads] == [
        ("new", "float32"), ("new", "float64"), ("old", "float32"),
    ]  # fmt: skip
    assert [line.split()[3] for line in out.splitlines() if line.startswith("speed relative to ")] == [
        "numpy", "torch", "numpy",
    ]  # fmt: skip
    assert ganbench.report.ratio_matrix(ganbench.load_results(tmp_path), "numpy") is not None


def test_what_was_available_nowhere_is_one_line(craft, tmp_path, ganbench_cli):
    operations = ["matmul", "batch_norm", "adam_step", "gan_iteration"]
    craft(tmp_path, {"torch": 2.0, "jax": 1.5}, statuses={(name, "jax"): "unavailable" for name in operations})
    out = ganbench_cli("report", tmp_path)[1]
    assert "not available: jax" in out
    assert "unavailable" not in out
    assert re.search(r"^speed relative to numpy\n.*\nmatmul +torch \* ", out, re.M)
    out = ganbench_cli("report", tmp_path, "--by", "dtype")[1]
    assert "not available: jax" in out
    assert "unavailable" not in out


def test_a_context_in_which_nothing_was_available_says_so(craft, tmp_path, ganbench_cli):
    operations = ["matmul", "batch_norm", "adam_step", "gan_iteration"]
    gone = {(name, target): "unavailable" for name in operations for target in ("numpy", "torch")}
    craft(tmp_path, {"torch": 1.0}, statuses=gone, machine="there")
    craft(tmp_path, {"torch": 2.0})
    out = ganbench_cli("report", tmp_path)[1]
    assert "nothing was measured; not available: numpy, torch" in out


def test_what_is_not_decided_is_marked(craft, tmp_path, ganbench_cli):
    craft(tmp_path, {"torch": 1.001, "jax": 2.0})
    craft(tmp_path, {"numpy.inplace": 1.0}, rounds=2)
    path = sorted(tmp_path.glob("**/*.jsonl"))[0]
    row = run_table(open_run(path)).set_index(["operation", "target"]).loc[("matmul", "torch")]
    out = ganbench_cli("report", tmp_path, "--baseline", "jax", "--ops", "matmul")[1]
    # Of one run, torch and jax were measured side by side. The newest rows of the other two are of a run without jax.
    # The intervals are drawn too, where the remarks on a real run leave room.
    said = re.findall(r"(jax|numpy|numpy\.inplace|torch)( \(?\*\)?)? .*s ±\S+ (\S+) (\[.*?\])?[ |o-]* (\w+)", out)
    assert {(name, speed, bool(ends), word) for name, _, speed, ends, word in said} == {
        ("jax", "1", False, "baseline"), ("torch", "0.50", True, "slower"),
        ("numpy", "0.50", False, "derived"), ("numpy.inplace", "0.50", False, "derived"),
    }  # fmt: skip
    assert "derived: from two medians that were not measured side by side." in " ".join(out.split())
    assert row["verdict"] in ("same", "undecided")


def test_a_report_says_of_a_run_what_its_own_table_says(craft, tmp_path, ganbench_cli):
    """The winner with its mark, times and speeds with intervals, the fastest first, and nothing else explained."""
    path = craft(tmp_path, {"torch": 2.0, "jax": 3.0}, statuses={("matmul", "jax"): "failed"})
    own, all_of_it = ganbench_cli("results", "show", path)[1], ganbench_cli("report", tmp_path)[1]
    lines = [
        line
        for line in own.splitlines()
        if re.search(r"^(matmul|batch_norm|adam_step|gan_iteration)? +\S+ .* ms|µs", line)
    ]
    assert len(lines) == 11
    for line in lines:
        assert line in all_of_it
    for report in (own, all_of_it):
        assert "jax: failed: jax went wrong" in report
        assert "surely the fastest" in report
        assert "may be the fastest" not in report
        assert "derived" not in report
    means = re.findall(r"^(\S+) +(\d\.\d\d)$", all_of_it.partition("geometric mean")[2], re.M)
    assert means == [("torch", "2.00"), ("numpy", "1.00")]


def test_a_baseline_that_a_context_lacks_is_said_in_each_cell(craft, tmp_path, ganbench_cli):
    craft(tmp_path, {"torch": 2.0})
    craft(tmp_path, {"jax": 2.0}, machine="there")
    code, out, _ = ganbench_cli("report", tmp_path, "--baseline", "torch", "--ops", "matmul")
    assert code == 0
    there, here = out.split("\n\nhere, ")
    assert there.count("no baseline") == 2
    assert re.search(r"^matmul +torch \* .* 1 .*baseline", here, re.M)
    assert re.search(r"^ +numpy .* 0\.50 \[0\.50, 0\.50\] .*slower", here, re.M)


def test_cases_of_other_baselines_have_a_table_of_their_own(craft, tmp_path, ganbench_cli):
    craft(tmp_path, {"torch": 2.0})
    craft(tmp_path, {"jax": 4.0}, baseline="jax", shapes={"matmul": [7, 7, 7]})
    out = ganbench_cli("report", tmp_path, "--ops", "matmul")[1]
    assert re.search(r"^speed relative to numpy\n.*\nmatmul 16x16x36 +torch .* 2\.00", out, re.M)
    assert re.search(r"^speed relative to jax\n.*\nmatmul 7x7x7 +jax .* 1 +.*\n +numpy .* 0\.25", out, re.M)
    assert "no baseline" not in out


def test_many_targets_are_cut_into_tables_that_fit(craft, tmp_path, ganbench_cli):
    craft(tmp_path, {f"torch.{'m' * 20}{number}": 1.0 + number for number in range(9)})
    for by in ("ratio", "dtype", "commit"):
        out = ganbench_cli("report", tmp_path, "--by", by)[1]
        assert max(map(len, out.splitlines()[1:])) <= 100 + 40 * (by != "ratio")
        assert all(f"{number}" in out for number in range(9))


# Narrow terminals


@pytest.mark.parametrize(
    "command",
    [("results", "show", NINE), ("report", NINE), ("recommend", "--iterations", 20000, "--run", NINE),
     ("diff", NINE, ANOTHER), ("results", "list", ROOT / "results/xeon-2c"), ("report", NINE.parents[1])],
    ids=["show", "report", "recommend", "diff", "list", "sweep"],
)  # fmt: skip
def test_a_narrow_terminal_breaks_no_word(command, ganbench_cli, monkeypatch):
    wide = set(ganbench_cli(*command)[1].split())
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: stream is sys.stdout)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ganbench.report.export.drawing", lambda *_: pd.Series(dtype=object))  # is no words
    for columns in (100, 80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = ganbench_cli(*command)
        assert code == 0
        assert max(map(len, out.splitlines())) <= columns
        assert set(out.split()) <= wide
        if command[0] != "results":
            assert "torch.manual" in out  # what answers is never left out
        for explained, drawn in (("ceiling: share", "% compute"), ("warm: the start", r"start +warm ")):
            assert (explained in out) == bool(re.search(drawn, out)), explained


# Colours


@pytest.mark.workers
def test_colours_are_for_terminals_only(craft, tmp_path):
    path = craft(tmp_path, {"torch": 2.0, "jax": 0.5}, statuses={("matmul", "jax"): "failed"})
    plain = subprocess.run(
        [Path(sys.executable).with_name("ganbench"), "results", "show", path], capture_output=True, text=True
    ).stdout
    seen = on_a_terminal("results", "show", path, columns=100)
    assert "\x1b[" not in plain
    assert [line.rstrip() for line in COLOUR.sub("", seen).splitlines()] == plain.splitlines()
    assert re.search(r"\x1b\[1m *torch \*", seen)
    assert re.search(r"\x1b\[32m[^\x1b]*faster", seen)
    assert re.search(r"\x1b\[33m[^\x1b]*slower", seen)
    assert re.search(r"\x1b\[31m *failed", seen)
    assert on_a_terminal("results", "show", path, columns=100, NO_COLOR="1") == plain
    assert COLOUR.search(on_a_terminal("report", tmp_path))
    assert not COLOUR.search(on_a_terminal("report", tmp_path, NO_COLOR="1"))
    assert not COLOUR.search(on_a_terminal("results", "show", path, "--format", "csv"))


@pytest.mark.workers
def test_hostile_text_gives_a_terminal_no_orders(craft, tmp_path):
    path = craft(tmp_path, {"torch": 2.0}, statuses={("matmul", "torch"): "failed"})
    path.write_text(path.read_text().replace('"reason":"', '"reason":"\\u001b[2J\\u202e'))
    for command in (("results", "show", path), ("report", tmp_path), ("results", "list", tmp_path)):
        seen = on_a_terminal(*command)
        assert not COLOUR.sub("", seen).count("\x1b")
        assert "\u202e" not in seen


# The fastest


def test_the_star_is_for_what_is_surely_the_fastest(craft, tmp_path):
    def marked(run):
        table = run_table(run)
        return table.assign(fastest=fastest(table, lambda *_: run)).groupby(["fastest", "target"]).size().to_dict()

    run = open_run(craft(tmp_path, {"torch": 2.0, "jax": 2.0, "numpy.inplace": 0.5}))
    cases = len(run.header.operations)
    assert marked(run) == {
        ("maybe", "jax"): cases, ("maybe", "torch"): cases, ("", "numpy"): cases, ("", "numpy.inplace"): cases,
    }  # fmt: skip
    assert render(run, "table").count(" (*)") >= 8
    sure = open_run(craft(tmp_path, {"torch": 2.0, "jax": 4.0}))
    assert marked(sure) == {("surely", "jax"): cases, ("", "numpy"): cases, ("", "torch"): cases}
    assert marked(open_run(craft(tmp_path, {}))) == {("", "numpy"): cases}


# Intervals


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.floats(1, 3), st.floats(1, 3)), min_size=1, max_size=6),
    st.integers(0, 80),
)
def test_drawings_are_in_the_order_of_the_numbers(rows, letters):
    table = pd.DataFrame(
        [(ratio / below, ratio, ratio * above) for ratio, below, above in rows],
        columns=["ratio_low", "ratio", "ratio_high"],
    )
    lines = drawing(table, letters)
    if letters < 16:
        assert lines.empty
        return
    assert all(len(line) == min(letters, MOST) for line in (lines.name, *lines))
    low, high = (float(end) for end in lines.name.split())
    for line, row in zip(lines, table.itertuples(), strict=True):
        assert line.count("o") == 1
        place = line.index("o") / (len(line) - 1)
        assert place == pytest.approx(
            (math.log(row.ratio) - math.log(low)) / (math.log(high) - math.log(low)), abs=0.6 / len(line) + 0.1
        )
        drawn = [number for number, letter in enumerate(line) if letter in "-o"]
        assert drawn == list(range(drawn[0], drawn[-1] + 1))


def test_the_ends_of_an_axis_are_never_rounded_to_nothing():
    table = pd.DataFrame({"ratio_low": [0.003], "ratio": [0.0033], "ratio_high": [0.004]})
    assert drawing(table, 20).name.split() == ["0.003", "1.00"]


def test_a_row_without_interval_is_drawn_as_nothing_but_the_line():
    table = pd.DataFrame({"ratio_low": [math.nan, 1.1], "ratio": [1.0, 1.2], "ratio_high": [math.nan, 1.3]})
    assert set(drawing(table, 20)[0]) == {" ", "|"}
    assert drawing(table.iloc[:1], 20).empty


def test_intervals_are_drawn_where_there_is_room(craft, tmp_path):
    run = open_run(craft(tmp_path, {"torch": 2.0, "jax": 0.5}))
    wide, narrow = render(run, "table", screen=Screen(160)), render(run, "table", screen=Screen(60))
    assert re.search(r"torch \* .* 2\.00 \[2\.00, 2\.00\] +\| +o faster", wide)
    assert "on a logarithmic axis" in wide
    assert "on a logarithmic axis" not in narrow
