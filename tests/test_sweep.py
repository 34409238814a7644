"""``ganbench compare --sweep``: what is asked for, what is run, and where one target overtakes another."""

import contextlib
import csv
import io
import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

import ganbench
from ganbench.errors import GanbenchError, UsageError
from ganbench.gan import preset
from ganbench.measure import several
from ganbench.measure.sweep import parse, plans
from ganbench.operation import Shape
from ganbench.operations import PRODUCTS, operation, operations_of
from ganbench.report import sweep as report
from ganbench.results.run import Ending, Point, Several, open_run
from ganbench.results.statistics import MIN_ROUNDS

ROOT = Path(__file__).resolve().parents[1]
OPS = "matmul,gan_iteration"
numbers = st.integers(1, 2**31 - 1)


# What is asked for


@given(st.lists(numbers, min_size=2, unique=True))
def test_a_list_gives_its_values_in_rising_order(values):
    assert parse(f"batch={','.join(map(str, values))}") == ("batch", tuple(sorted(values)))


@given(st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted))
def test_a_range_gives_its_ends_and_the_powers_of_two_between(ends):
    low, high = ends
    variable, values = parse(f"n={low}..{high}")
    assert (variable, values[0], values[-1]) == ("n", low, high)
    assert set(values[1:-1]) == {2**k for k in range(32) if low < 2**k < high}
    assert list(values) == sorted(set(values))


@given(st.text(max_size=12))
def test_any_text_is_a_sweep_or_a_usage_error(values):
    with contextlib.suppress(UsageError):
        found = parse(f"width={values}")
        assert len(found.values) >= 2
        assert all(1 <= value < 2**31 for value in found.values)


def test_doubling_is_doubling():
    assert parse(" n = 64..4096 ").values == (64, 128, 256, 512, 1024, 2048, 4096)
    assert parse("batch=1,8..32,20,8").values == (1, 8, 16, 20, 32)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--sweep", "batch"], "VARIABLE=VALUES"),
        (
            ["--sweep", "depth=1,2"],
            "unknown variable of a sweep 'depth' (known: batch, critic_steps, n, threads, width)",
        ),
        (["--sweep", "batch="], "at least two values"),
        (["--sweep", "batch=8"], "at least two values"),
        (["--sweep", "batch=0,8"], "between 1 and"),
        (["--sweep", "batch=1,2", "--details"], "--details cannot be given with --sweep batch"),
        (["--sweep", "batch=8..4"], "a range must rise"),
        (["--sweep", "batch=8,x"], "'x' is neither a number nor a range"),
        (["--sweep", "batch=1,99999999999999999999"], "neither a number nor a range"),
        (["--sweep", "batch=1,8", "--batch", "4"], "--batch cannot be given with --sweep batch"),
        (["--sweep", "threads=1,4096"], "threads 4096 is not valid"),
        (["--sweep", "threads=1,2", "--threads", "1"], "--threads cannot be given"),
        (["--sweep", "n=8,16", "--preset", "tiny"], "--preset cannot be given with --sweep n"),
        (["--sweep", "n=8,16", "--ops", "matmul,adam_step"], "adam_step is not a matrix product"),
        (["--sweep", "width=8,16", "--generator", "4,36", "--discriminator", "36,1"], "no hidden layer"),
        (["--sweep", "batch=1,8", "--resume", "x"], "--resume cannot be given"),
        (["--sweep", "batch=1,8", "--fail-if", "torch/matmul slower than 2x"], "--fail-if cannot be given"),
        (["--sweep", "batch=1,8", "--backends", "toch"], "unknown backend 'toch'"),
        (["--sweep", "batch=1,8", "--budget", "-1"], "budget -1"),
        (["--sweep", "batch=1,8", "--machine", "../x"], "machine '../x'"),
    ],
)
def test_a_wrong_request_is_exit_2_before_anything_runs(ganbench_cli, tmp_path, arguments, named):
    code, out, err = ganbench_cli("compare", "--results", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert not list(tmp_path.rglob("*.jsonl"))


# What is run


def test_each_variable_alters_what_it_names_and_nothing_else(monkeypatch):
    monkeypatch.setattr("ganbench.measure.plan.usable_cpus", lambda: [0, 1])
    wide, same, _ = plans(parse("width=256,300,784"), preset("mnist-mlp-bn"), OPS, backends="numpy")[::-1]
    assert (wide.spec.generator, wide.spec.discriminator) == ((64, 784, 784), (784, 784, 1))
    assert (wide.spec.batch, wide.spec.batch_norm, wide.spec.name) == (128, True, "mnist-mlp-bn-w784")
    assert same.spec.generator == (64, 300, 784)
    small, large = plans(parse("batch=1,8"), preset("deep"), OPS, backends="numpy", budget_s=5.0)
    assert [plan.spec.batch for plan in (small, large)] == [1, 8]
    assert small.spec.discriminator_activations == preset("deep").discriminator_activations
    assert small.rigor == large.rigor
    assert large.rigor.budget_s == 5.0
    one, two = plans(parse("threads=1,2"), preset("tiny"), OPS, backends="numpy")
    assert (one.threads, two.threads, one.spec) == (1, 2, two.spec)
    few, more = plans(parse("critic_steps=1,5"), preset("mnist-wgan-gp"), OPS, backends="numpy")
    assert (few.spec.critic_steps, more.spec) == (1, preset("mnist-wgan-gp"))
    once, twice = plans(parse("critic_steps=1,2"), preset("tiny"), OPS, backends="numpy")
    assert (once.spec, twice.spec.critic_steps) == (preset("tiny"), 2)
    own = plans(parse("width=16,32"), preset("tiny"), OPS, backends="numpy")[0]
    assert own.spec == preset("tiny")


@given(st.integers(1, 5000))
def test_n_is_the_width_of_square_products_whatever_the_data(n):
    spec = plans(parse(f"n={n},{n + 1}"), preset("mnist-mlp"), "matmul", backends="numpy")[0].spec
    for name in PRODUCTS:
        assert operation(name, spec).shape == Shape(m=n, k=n, n=n)
    assert spec.img_dim == 1


@pytest.mark.parametrize(("variable", "unmoved"), [("batch", {"adam_step"}), ("width", set())])
def test_no_two_values_pass_for_the_same_case(variable, unmoved):
    """What reports pool by: preset and shape."""
    made = plans(parse(f"{variable}=3..64"), preset("mnist-mlp"), OPS, backends="numpy")
    for name in {*operations_of(preset("mnist-mlp"))} - unmoved:
        assert len({(plan.spec.name, operation(name, plan.spec).shape) for plan in made}) == len(made)


@pytest.mark.workers
def test_a_sweep_is_a_series_of_ordinary_runs(ganbench_cli, tmp_path):
    ask = ("compare", "--sweep", "n=8,16", "--backends", "numpy", "--rounds", "1", "--results", tmp_path)
    code, out, err = ganbench_cli(*ask, "--export", tmp_path / "out.csv")
    assert code == 0
    assert out.startswith("n 8, 16; the first: ")
    assert "2 runs, n 8, 16: 1 round each, however long they take" in err
    assert "n 16: saved in" in err
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert list(rows[0]) == report.COLUMNS
    assert [(row["sweep"], row["value"], row["operation"], row["status"]) for row in rows] == [
        ("n", "8", "matmul", "ok"),
        ("n", "16", "matmul", "ok"),
    ]
    assert all(float(row["median_s"]) > 0 for row in rows)
    kept = ganbench.load_results(tmp_path)
    assert list(kept["run_id"]) == [row["run_id"] for row in rows]
    assert list(kept["shape"]) == ["8x8x8", "16x16x16"]
    matrix = ganbench.report.ratio_matrix(kept)
    assert [shape for _, shape in matrix.index[:2]] == ["8x8x8", "16x16x16"]
    for row in rows:
        assert ganbench_cli("results", "show", row["run_id"], "--results", tmp_path)[0] == 0


@pytest.fixture
def instead(monkeypatch):
    """Let a sweep meet given outcomes, runs or exceptions, in place of measuring."""

    def put(*outcomes):
        left = list(outcomes)

        def begin(plan, results, machine, progress):
            progress(0.5, "halfway")
            outcome = left.pop(0)
            if isinstance(outcome, BaseException):
                raise outcome
            yield
            return open_run(outcome)

        monkeypatch.setattr(several, "begin", begin)
        return left

    return put


ASK = ("compare", "--backends", "numpy,torch", "--preset", "tiny", "--ops", OPS, "--budget", "1m", "--sweep")


def test_a_value_that_fails_is_a_row_and_the_sweep_goes_on(ganbench_cli, craft, instead, tmp_path):
    instead(GanbenchError("the oracle ended early"), craft(tmp_path), MemoryError("Unable to allocate 9 TiB"),
            craft(tmp_path, statuses={("matmul", "torch"): "failed"}))  # fmt: skip
    code, out, err = ganbench_cli(*ASK, "batch=1,2,4,8")
    assert code == 0
    assert "4 runs, batch 1, 2, 4, 8: up to 60 s each (or one round, if that takes longer), 4.0 minutes in all" in err
    text = " ".join(out.split())
    assert "numpy, torch at batch 1: failed: the oracle ended early" in text
    assert "numpy, torch at batch 4: out of memory: Unable to allocate 9 TiB" in text
    assert "torch at batch 8: failed: torch went wrong" in text
    assert max(len(line) for line in out.splitlines()[1:]) <= 100
    instead(GanbenchError("no"), GanbenchError("no"))
    code, out, err = ganbench_cli(*ASK, "batch=1,2", "--format", "json")
    assert code == 1
    assert "nothing was measured" in err
    assert {row["reason"] for row in json.loads(out)["rows"]} == {"no"}


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(ganbench_cli, craft, instead, tmp_path):
    cut = craft(tmp_path, end=False)
    left = instead(craft(tmp_path), cut, craft(tmp_path))
    code, out, err = ganbench_cli(*ASK, "batch=1,2,4,8")
    assert code == 130
    assert f"'ganbench compare --resume {cut}' finishes batch 2; not begun: batch 4, 8" in err
    assert len(left) == 1
    assert "\n1" in out
    assert "\n2" in out
    instead(craft(tmp_path), KeyboardInterrupt())  # while it waited for its turn, with no run yet
    code, out, err = ganbench_cli(*ASK, "batch=1,2,4")
    assert code == 130
    assert "interrupted: the table shows what was measured until then; not begun: batch 2, 4" in err
    assert "Traceback" not in err
    instead(KeyboardInterrupt())
    assert ganbench_cli(*ASK, "batch=1,2,4", "--format", "markdown")[0] == 130


# Where one target overtakes another


@given(st.lists(st.sampled_from([-1, 0, 1])))
def test_a_bracket_has_decided_ends_that_differ_and_nothing_decided_between(sides):
    values = [3 * index + 1 for index in range(len(sides))]
    found = report.brackets(values, sides)
    for low, high, after in found:
        first, last = values.index(low), values.index(high)
        assert sides[first] == -after
        assert sides[last] == after != 0
        assert not any(sides[first + 1 : last])
    decided = [side for side in sides if side]
    assert len(found) == sum(a != b for a, b in itertools.pairwise(decided))


def swept(craft, tmp_path, *speeds, **targets):
    """A sweep of batch 1, 2, 4, ... in which torch, and others, are so much faster than numpy."""
    made = parse(f"batch=1..{2 ** (len(speeds) - 1)}")
    backends = ["numpy", "torch", *targets]
    points = []
    for index, speed in enumerate(speeds):
        named = {"torch": speed} | {name: several[index] for name, several in targets.items()}
        points.append(Point(made.values[index], open_run(craft(tmp_path, named))))
    operations = "gan_iteration", "matmul"
    return Several("batch", operations, tuple(backends), "numpy", tuple(points), (), Ending("complete"))


def test_the_crossing_is_stated_with_its_bracket(craft, tmp_path):
    said = report.sentences(swept(craft, tmp_path, 0.5, 0.8, 1.0, 1.01, 1.3, 1.6))
    assert said == [f"{name}: torch overtakes numpy between batch 2 and 16" for name in ("gan_iteration", "matmul")]


def test_no_crossing_without_decided_ends(craft, tmp_path):
    said = report.sentences(swept(craft, tmp_path, 0.985, 1.0, 1.5))  # slower at first, but within the band
    assert said == ["no target surely overtakes another on gan_iteration, matmul"]


def test_targets_cross_that_are_not_the_baseline(craft, tmp_path):
    both = swept(craft, tmp_path, 2.0, 3.0, 2.5, jax=[3.0, 2.0, 3.0])
    found = {c[1:] for c in report.crossings(both) if c.operation == "matmul"}
    assert found == {("torch", "jax", 1, 2), ("jax", "torch", 2, 4)}
    whole = json.loads(report.render(both, "json"))
    assert {"operation": "matmul", "winner": "torch", "loser": "jax", "low": 1, "high": 2} in whole["crossings"]
    assert len(whole["rows"]) == 3 * 4 * 3  # the runs have four operations
    text = report.render(both, "markdown")
    assert "| matmul by batch | numpy | torch | jax |" in text
    cells = r"\| 1 \| \S+ µs ±\S+, baseline \| \S+ µs ±\S+, 2.00 faster \| \S+ µs ±\S+ \*, 3.00 faster \|"
    assert re.search(cells, text)
    assert "matmul: jax overtakes torch between batch 2 and 4" in text


def test_where_the_control_failed_or_rounds_are_few_nothing_crosses(craft, tmp_path):
    assert report.crossings(swept(craft, tmp_path, 0.5, 2.0))
    unclear = swept(craft, tmp_path, 0.5, 2.0)
    for point in unclear.points:
        for index, record in enumerate(point.run.records):
            if getattr(record, "copy", False) and hasattr(record, "samples"):
                faster = [seconds / 1.5 for seconds in record.samples]
                point.run.records[index] = msgspec.structs.replace(record, samples=faster)
    assert not report.crossings(unclear)
    few = swept(craft, tmp_path, 0.5, 2.0)
    for point in few.points:
        point.run.records[:] = [r for r in point.run.records if getattr(r, "round", 0) < MIN_ROUNDS]
    assert not report.crossings(few)


def test_a_table_too_wide_for_the_page_is_cut_between_targets(craft, tmp_path):
    names = {f"torch.{mode}": [1.5, 2.0] for mode in ("textbook", "manual")} | {"jax": [1.0] * 2, "jax.scan": [1.0] * 2}
    out = report.render(swept(craft, tmp_path, 1.0, 1.2, **names), "table")
    assert max(len(line) for line in out.splitlines()[1:]) <= 100
    for name in names:
        assert name in out


def test_the_sweep_on_its_page_is_what_its_runs_say_today():
    runs = [open_run(path) for path in sorted(ROOT.glob("results/epyc-2c/compare/20261127T111[2-9]*.jsonl"))]
    points = tuple(Point(run.header.spec.batch, run) for run in runs)
    targets = tuple(target.label for target in runs[0].header.targets)
    swept = Several("batch", ("gan_iteration",), targets, targets[0], points, (), Ending("complete"))
    _, _, shown = report.render(swept, "table").partition("\n\n")
    table, _, _ = shown.partition("runs by batch")
    assert f"```text\n{table}```" in (ROOT / "docs" / "sweeps.md").read_text()
