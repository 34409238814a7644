"""What a table says first and last: rows by speed, what fits the screen, the signs that occur, and the answer."""

import re

import pytest

import ganbench
from ganbench.report.answer import answer
from ganbench.report.export import render
from ganbench.report.notes import remarks
from ganbench.report.selection import select
from ganbench.report.text import Screen
from ganbench.report.web import content
from ganbench.results.run import open_run
from ganbench.results.table import run_table


@pytest.mark.parametrize(("width", "left"), [(100, "ceiling"), (80, "2.00 [2.00, 2.00]"), (60, "2.00 ")])
def test_what_answers_least_is_left_out_first(craft, tmp_path, width, left):
    run = open_run(craft(tmp_path, {"torch.textbook_now": 2.0, "jax": 0.5}))
    text = render(run, "table", screen=Screen(width))
    assert max(map(len, text.splitlines()[1:])) <= width
    assert left in text
    assert ("ceiling" in text) == (width == 100)
    assert text.count(" slower") == 4


def test_rows_are_in_the_order_of_their_speeds_and_failures_last(craft, tmp_path):
    run = open_run(craft(tmp_path, {"torch": 2.0, "jax": 4.0, "cupy": 3.0}, statuses={("matmul", "cupy"): "failed"}))
    rows = [line.split() for line in render(run, "table").splitlines()]
    start = next(number for number, row in enumerate(rows) if row[:1] == ["matmul"])
    assert [rows[start][1], *(row[0] for row in rows[start + 1 : start + 4])] == ["jax", "torch", "numpy", "cupy"]


def test_the_legend_says_only_what_occurs(craft, tmp_path):
    text = " ".join(render(open_run(craft(tmp_path, {"torch": 2.0})), "table").split())
    assert "mark *: surely" in text
    assert "(*)" not in text
    assert "same: " not in text
    even = " ".join(render(open_run(craft(tmp_path, {"torch": 1.0})), "table").split())
    assert "(*): these targets may be the fastest" in even
    assert "same: within 2%" in even
    assert "mark *: surely" not in even


def test_undecided_rows_say_what_more_time_would_tell(craft, tmp_path):
    run = open_run(craft(tmp_path, {"torch": 2.0}))
    table = run_table(run)
    assert not any(line.startswith("undecided rows") for line in remarks(run, table))
    undecided = table["target"] == "torch"
    told = remarks(run, table.assign(verdict=table["verdict"].mask(undecided, "undecided"), detectable=0.2))
    line = next(line for line in told if line.startswith("undecided rows"))
    said = re.search(
        r"6 rounds .* differences of 20% and more; 4 times as long \(--budget \d+m\) should detect (\d+)%",
        line,
    )
    assert said, line
    assert 5 < int(said[1]) < 15


@pytest.mark.parametrize(
    ("speeds", "more", "said"),
    [
        (
            {"torch": 2.0, "jax": 4.0},
            {},
            r"jax is fastest: 4\.00 times numpy \[\S+ \S+\]; tiny, gan_iteration, float32,",
        ),
        ({"torch": 0.5}, {}, r"numpy is fastest: 2\.00 times torch \[\S+ \S+\]; tiny"),
        ({"torch": 2.0, "jax": 2.0}, {}, r"(jax or torch|torch or jax) may be fastest \(more rounds may decide it: "),
        ({"torch": 2.0}, {"rounds": 2}, r"(numpy or torch|torch or numpy) may be fastest \(an interval needs at "),
        ({}, {}, None),
    ],
)
def test_the_last_line_is_the_answer(craft, tmp_path, speeds, more, said):
    run = open_run(craft(tmp_path, speeds, **({"end": False} if more else {})))
    if more:
        run.records[:] = [one for one in run.records if getattr(one, "round", 0) <= more["rounds"]]
    found = answer(run, run_table(run))
    assert bool(found) == (said is not None)
    if said:
        assert re.match(said, found), found
        assert " ".join(render(run, "table").split()).endswith(" ".join(found.split()))


@pytest.mark.parametrize("order", [["matmul", "batch_norm"], ["batch_norm", "matmul"]])
def test_table_and_page_answer_for_the_same_operation(craft, tmp_path, order):
    run = open_run(craft(tmp_path, {"torch": 2.0}, operations=order))
    data, _ = content(tmp_path, select(ganbench.load_results(tmp_path)))
    (context,) = data["contexts"]
    assert f", {context['lead']}, " in answer(run, run_table(run))
