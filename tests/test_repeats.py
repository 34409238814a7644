"""Several runs of the same work: only they confirm a difference, by the wider of what rounds and runs differ by."""

import math
import random
import statistics

import pytest

import ganbench
from ganbench.results.repeats import Spread, repeats, speeds, spread, together
from ganbench.results.run import open_run
from ganbench.results.statistics import Estimate, student


def wide(value, half):
    return Estimate(value, value * math.exp(-half), value * math.exp(half))


def test_the_wider_of_rounds_and_runs_counts():
    calm = together([[wide(1.0, 0.04), wide(1.0, 0.04)]], Spread(0.001**2, 8))
    assert calm.ratio.high == pytest.approx(math.exp(0.04 / math.sqrt(2)))
    moved = together([[wide(1.0, 0.001), wide(1.0, 0.001)]], Spread(0.03**2, 8))
    assert moved.ratio.high == pytest.approx(math.exp(student(8) * 0.03 / math.sqrt(2)))


@pytest.mark.parametrize("runs", [2, 3, 6])
def test_an_interval_over_runs_contains_the_truth(runs):
    """Rounds that say nothing of it: runs lie apart by 2 %, and five cases of two operations are measured."""
    rng, held = random.Random(runs), []
    for _ in range(400):
        sides = []
        for _ in range(2):
            cases = [(name, target) for name in ("a", "b") for target in ("x", "y", "z")]
            sides.append({case: [wide(math.exp(rng.gauss(0, 0.02)), 1e-4) for _ in range(runs)] for case in cases})
        between = spread(sides)
        assert between.freedom == 2 * 2 * (runs - 1)
        for case in sides[0]:
            ratio = together([side[case] for side in sides], between).ratio
            held.append(ratio.low <= 1 <= ratio.high)
    assert statistics.fmean(held) >= 0.945


def test_what_was_measured_once_shows_no_spread():
    assert spread([{("matmul", "torch"): [wide(1.0, 0.1)]}, {("matmul", "torch"): [wide(2.0, 0.1)]}]) is None


def test_repeats_are_the_same_work_by_the_same_code_on_the_same_machine(craft, results):
    first = craft(results, seed=1)
    second = craft(results, seed=2)
    craft(results, commit="b" * 40)
    craft(results, {"torch": 2.0}, versions={"torch": "2.99"})
    craft(results, {"torch": 2.0}, baseline="torch")
    craft(results, machine="elsewhere")
    craft(results, dtype="float64")
    (results / "m" / "compare").mkdir(parents=True, exist_ok=True)
    (first.parent / "broken.jsonl").write_text("no run\n")
    found = repeats(open_run(first))
    assert [run.path for run in found] == [first, second]
    assert [len(several) for several in speeds(found).values()] == [2] * len(speeds(found))


def sides(craft, results, before, after):
    """Return a run of either side, each of several that have these speeds."""
    a = [craft(results, {"torch": speed}, commit="a" * 40, dirty=False) for speed in before]
    b = [craft(results, {"torch": speed}, commit="b" * 40, dirty=False) for speed in after]
    return a[0], b[0]


def test_a_difference_that_the_next_run_does_not_show_is_not_confirmed(craft, results):
    """A public case: +11.6 % [10.4, 11.9] in one run, and +0.9 % in the next of the same commit."""
    table = ganbench.diff(*sides(craft, results, [2.0, 2.02], [2.23, 2.02]))
    row = table.loc[("matmul", "torch")]
    assert row["verdict"] == "faster"
    assert (row["runs"], row["confirmed_verdict"]) == (2, "undecided")
    assert row["confirmed_low"] < 1 < row["confirmed_high"]
    assert "repeats: over 2 runs of A and 2 of B" in table.attrs["notes"][-1]


def test_a_difference_that_repeats_show_is_confirmed(craft, results, ganbench_cli):
    a, b = sides(craft, results, [2.0, 2.01, 2.0], [2.3, 2.31])
    row = ganbench.diff(a, b).loc[("matmul", "torch")]
    assert (row["runs"], row["confirmed_verdict"]) == (2, "faster")
    assert row["confirmed"] == pytest.approx(2.305 / 2.003, rel=1e-3)
    _, out, _ = ganbench_cli("diff", a, b)
    assert "repeats" in out
    assert "] faster" in " ".join(out.split())


def test_one_run_of_each_says_how_to_confirm(craft, results):
    a, b = sides(craft, results, [2.0], [2.3, 2.3])
    table = ganbench.diff(a, b)
    assert table["confirmed"].isna().all()
    assert f"measure again: 'ganbench compare --again {a.stem}'" in table.attrs["notes"][-1]


def test_two_runs_of_the_same_code_are_repeats_not_sides(craft, results):
    a, b = (craft(results, {"torch": speed}) for speed in (2.0, 2.1))
    assert "A and B did the same work with the same code" in ganbench.diff(a, b).attrs["notes"][-1]


def test_the_history_confirms_by_several_runs_of_a_commit(craft, results):
    for commit, speeds_ in (("a", [2.0, 2.01]), ("b", [3.0, 3.01]), ("c", [3.0])):
        for speed in speeds_:
            craft(results, {"torch": speed}, commit=commit * 40, dirty=False)
    table = ganbench.report.history(ganbench.load_results(results))
    mine = table.xs("torch", level="target").xs("matmul", level="operation")
    assert [*mine["confirmed"]] == ["", "faster", ""]


def test_a_run_measured_again_is_read_together_with_the_first(tmp_path, ganbench_cli):
    asked = ("--backends", "numpy,numpy.inplace", "--preset", "tiny", "--ops", "gan_iteration", "--rounds", "6")
    condition = ("--fail-if", "numpy.inplace/gan_iteration slower than 0.01x")
    code, _, err = ganbench_cli("compare", *asked, "--results", tmp_path, *condition)
    assert code == 1
    (first,) = tmp_path.glob("*/compare/*.jsonl")
    command = open_run(first).header.command
    assert command[-3:] == [tmp_path.name, *condition]  # the name alone: runs are given to others
    assert f"one run does not confirm it: measure again with 'ganbench compare --again {first.stem}'" in err

    mine = tmp_path / "mine"  # what came with a clone and what is measured there lie apart
    code, out, err = ganbench_cli("compare", "--again", first, "--results", mine, *condition)
    assert code == 1
    assert "2 runs of the same work" in out
    assert "from run to run a speed changes by" in " ".join(out.split())
    assert "over 2 runs, all of it beyond 0.01" in err
    assert "does not confirm" not in err
    assert len([*mine.glob("*/compare/*.jsonl")]) == 1

    code, _, err = ganbench_cli("compare", "--again", first, "--preset", "tiny", "--results", tmp_path)
    assert code == 2
    assert "--preset cannot be given with --again" in err


def test_a_run_of_other_code_is_not_repeated(craft, results, ganbench_cli):
    path = craft(results, {}, commit="a" * 40, dirty=False)
    code, _, err = ganbench_cli("compare", "--again", path, "--results", results)
    assert code == 2
    assert "cannot be repeated, because something has changed since it began" in err
