"""``ganbench compare --fail-if``: 1 means a condition that holds, and nothing else does."""

import contextlib
import math
import subprocess

import pytest
from commands import GANBENCH
from hypothesis import assume, given, settings, strategies as st

import ganbench
from ganbench.cli.failures import failures_leave
from ganbench.errors import GanbenchError, StorageError, UsageError
from ganbench.gan import preset
from ganbench.measure.plan import make_plan
from ganbench.report.condition import evaluate, exit_code, parse
from ganbench.results.run import Ending, open_run
from ganbench.results.statistics import MIN_ROUNDS
from ganbench.results.table import frame, values
from ganbench.settings import SETTINGS

OPERATIONS = ["matmul", "gan_iteration"]
PLAN = make_plan(preset("tiny"), backends="numpy,torch.textbook,torch", ops=OPERATIONS)
OF = PLAN.targets, PLAN.operations, PLAN.baseline
seconds, share = SETTINGS["budget_s"].read, SETTINGS["precision_goal"].read


def row(**fields):
    """Return the table of a run that has one row."""
    common = {"operation": "matmul", "target": "torch", "status": "ok", "reason": "", "baseline": "numpy", "rounds": 8}
    return frame(values([common | {"verdict": "undecided"} | fields]))


def measured(ratio, low, high, **fields):
    return row(ratio=ratio, ratio_low=low, ratio_high=high, **fields)


def outcome(text, table):
    return evaluate(parse(text, *OF), table).outcome


@pytest.mark.parametrize("text", ["torch/matmul slower than 1.10x", " torch.eager@cpu/matmul  slower than 1.1 x "])
def test_a_condition_names_a_target_in_any_of_its_spellings(text):
    condition = parse(text, *OF)
    assert (condition.target, condition.operation, condition.slower, condition.factor) == ("torch", "matmul", True, 1.1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "such as 'torch/gan_iteration slower than 1.10x'"),
        ("torch slower than 1.10x", "TARGET/OPERATION"),
        ("torch/matmul slower than 10%", "FACTORx"),
        ("torch/matmul slower than -1x", "FACTORx"),
        ("torch/matmul slower than nanx", "FACTORx"),
        ("torch/matmul bigger than 1x", "slower|faster"),
        ("torch/matmul slower than 0x", "more than 0"),
        ("torch/matmul slower than 1" + 400 * "0" + "x", "finite"),
        (
            "toch/matmul slower than 1x",
            "unknown backend 'toch' (known: cupy, jax, keras, mlx, numpy, tensorflow, torch)",
        ),
        ("torch.fast/matmul slower than 1x", "eager, graph, manual, textbook"),
        ("jax/matmul slower than 1x", "'jax' (known: numpy, torch, torch.textbook)"),
        ("numpy/matmul slower than 1x", "baseline 'numpy' with itself (others: torch.textbook, torch)"),
        ("torch/conv slower than 1x", "'conv' (known: gan_iteration, matmul)"),
        ("torch/adam_step slower than 1x", "'adam_step' (known: gan_iteration, matmul)"),
    ],
)
def test_what_cannot_be_a_condition_says_what_is_valid(text, named):
    with pytest.raises(UsageError) as error:
        parse(text, *OF)
    assert named in str(error.value)


@given(st.text(max_size=60))
def test_no_text_is_more_than_a_usage_error(text):
    with pytest.raises(UsageError):
        parse(text, *OF)


@given(st.sampled_from(["torch", "torch.textbook"]), st.sampled_from(OPERATIONS), st.booleans(), st.floats(1e-3, 1e3))
def test_what_is_written_is_read_back(target, operation, slower, factor):
    condition = parse(f"{target}/{operation} {'slower' if slower else 'faster'} than {factor:.6f}x", *OF)
    assert condition[1:4] == (target, operation, slower)
    assert condition.factor == pytest.approx(factor, abs=1e-6)


bounds = st.tuples(*3 * [st.floats(0.01, 100)]).map(sorted)


@settings(max_examples=30)  # each makes a table
@given(bounds, st.floats(0.01, 100), st.booleans())
def test_a_condition_holds_only_where_the_whole_interval_lies_beyond(interval, factor, slower):
    low, value, high = interval
    text = f"torch/matmul {'slower' if slower else 'faster'} than {factor:.9f}x"
    limit = parse(text, *OF).factor
    beyond = [(1 / speed if slower else speed) > limit for speed in (low, value, high)]
    expected = "holds" if all(beyond) else "does not hold" if not any(beyond) else "undecided"
    assert outcome(text, measured(value, low, high)) == expected


@settings(max_examples=30)
@given(bounds, st.floats(0.01, 100))
def test_slower_and_faster_of_one_limit_never_both_hold(interval, factor):
    low, value, high = interval
    assume(not low <= factor <= high)
    found = {
        outcome(f"torch/matmul faster than {factor:.12f}x", measured(value, low, high)),
        outcome(f"torch/matmul slower than {1 / factor:.12f}x", measured(value, low, high)),
    }
    assert found != {"holds"}


@pytest.mark.parametrize(
    ("table", "expected", "why"),
    [
        (row(operation="batch_norm"), "not measured", "no such row"),
        (row(status="failed", reason="no product today"), "not measured", "failed: no product today"),
        (row(), "not measured", "the baseline numpy has no time"),
        (measured(0.5, math.nan, math.nan, rounds=4, verdict="undecided"), "undecided", "4 rounds"),
        (measured(0.5, 0.4, 0.6, verdict="control failed"), "undecided", "control failed"),
        (measured(0.5, 0.4, 0.6), "holds", "time 2.000 times that of numpy [1.667, 2.500], all of it beyond 1.1"),
        (measured(1.0, 0.95, 1.05), "does not hold", "time 1.000 times that of numpy [0.952, 1.053]"),
        (measured(0.9, 0.85, 0.95), "undecided", "contains 1.1: more rounds"),
    ],
)
def test_every_outcome_says_why(table, expected, why):
    finding = evaluate(parse("torch/matmul slower than 1.1x", *OF), table)
    assert finding.outcome == expected
    assert why in str(finding)


def test_the_gravest_finding_counts():
    def findings(*tables):
        return [evaluate(parse("torch/matmul slower than 1.1x", *OF), table) for table in tables]

    holds, good, open_, missing = measured(0.5, 0.4, 0.6), measured(1, 1, 1), measured(0.9, 0.8, 1), row()
    assert exit_code([]) == 0
    assert exit_code(findings(good, good)) == 0
    assert exit_code(findings(good, open_)) == 3
    assert exit_code(findings(open_, missing, good)) == 4
    assert exit_code(findings(missing, open_, good, holds)) == 1


CONDITION = "torch/matmul slower than 1.10x"


@pytest.fixture
def gate(monkeypatch, craft, tmp_path, ganbench_cli):
    """Run ``compare --fail-if`` on a run that was written beforehand, or that fails with an error."""

    def run(*conditions, error=None, ended=None, out=("--format", "csv"), **crafted):
        comparison = open_run(craft(tmp_path / "results", **crafted))
        if ended is not None:
            comparison.ended = ended

        def carried_out(*_):
            if error is not None:
                raise error
            return comparison

        monkeypatch.setattr("ganbench.measure.session.carry_out", carried_out)
        options = [part for condition in conditions for part in ("--fail-if", condition)]
        return ganbench_cli("compare", "--backends", "numpy,torch", "--ops", "matmul,adam_step", *options, *out)

    return run


@pytest.mark.parametrize(
    ("speed", "code", "found"), [(0.5, 1, ": holds: time 2.000"), (1.0, 0, ": does not hold: time 1.000")]
)
def test_the_whole_interval_decides_the_exit_code(gate, speed, code, found):
    left, out, err = gate(CONDITION, speeds={"torch": speed})
    assert left == code
    assert f"ganbench: fail if {CONDITION}{found}" in err
    assert out.startswith("run_id,")
    assert "fail if" not in out


def test_what_was_not_measured_is_not_a_condition_that_holds(gate):
    wrong = {("matmul", "torch"): "failed"}
    assert gate(CONDITION, statuses=wrong)[0] == 4
    code, _, err = gate(CONDITION, "torch/adam_step faster than 1.5x", statuses=wrong)
    assert code == 1
    assert "not measured: failed: torch went wrong" in err
    assert "torch/adam_step faster than 1.5x: holds: speed 2.000" in err


@pytest.mark.parametrize(
    ("ended", "with_condition", "without"),
    [(Ending("interrupted"), 130, 130), (Ending("failed", "cannot write results to x: No space left"), 4, 1)],
)
def test_a_run_that_ended_badly_has_a_code_of_its_own(gate, ended, with_condition, without):
    code, out, err = gate(CONDITION, ended=ended, speeds={"torch": 0.5})
    assert code == with_condition
    assert out
    assert (ended.why or ended.how) in err
    assert gate(ended=ended)[0] == without


@pytest.mark.parametrize(
    ("error", "with_condition", "without"),
    [
        (GanbenchError("the oracle ended with exit code 1"), 4, 1),
        (StorageError("cannot write results"), 4, 1),
        (UsageError("no such thing"), 2, 2),
        (KeyboardInterrupt(), 130, 130),
    ],
)
def test_a_run_that_fails_leaves_1_alone(gate, error, with_condition, without):
    assert gate(CONDITION, error=error)[0] == with_condition
    assert gate(error=error)[0] == without


@pytest.mark.parametrize("room", [True, False])
def test_a_fault_of_ours_is_told_with_its_traceback_and_is_not_1(monkeypatch, tmp_path, capsys, room):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path if room else tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as left, failures_leave(4):
        raise ZeroDivisionError("of ours")
    said = capsys.readouterr().err
    assert left.value.code == 4
    assert "because of a bug in ganbench: ZeroDivisionError: of ours\n" in said
    assert ("Traceback" in said) != room
    files = list(tmp_path.glob("ganbench-fault-*.txt"))
    assert ["Traceback" in file.read_text() and f"attach the file {file}" in said for file in files] == [True] * room


@pytest.mark.parametrize(("error", "words"), [
    (PermissionError(13, "Permission denied", "/x"), "cannot go on: /x: Permission denied"),
    (OSError("odd"), "cannot go on: odd"), (MemoryError(), "cannot go on: there is not enough memory"),
])  # fmt: skip
def test_what_the_surroundings_refuse_is_one_line(monkeypatch, capsys, error, words):
    monkeypatch.setattr("ganbench.cli.failures.discard_output", lambda: None)
    with pytest.raises(SystemExit) as left, failures_leave():
        raise error
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.workers
def test_conditions_are_read_before_anything_runs(tmp_path):
    command = [*GANBENCH, "compare", "--backends", "numpy,torch", "--results", tmp_path]
    done = subprocess.run([*command, "--fail-if", "torch/conv slower than 1x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown operation of a condition 'conv'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.workers
def test_too_few_rounds_decide_nothing(tmp_path, ganbench_cli):
    code, _, err = ganbench_cli(
        "compare", "--backends", "numpy,numpy.inplace", "--preset", "tiny", "--ops", "matmul", "--rounds", "1",
        "--results", tmp_path, "--fail-if", "numpy.inplace/matmul slower than 1000x",
    )  # fmt: skip
    assert code == 3
    assert "undecided: time " in err
    assert len(ganbench.load_results(tmp_path)) == 2


@pytest.mark.parametrize(
    ("text", "value"), [("120", 120), ("120s", 120), (" 1.5 m ", 90), ("2min", 120), ("1h", 3600), ("1e2S", 100)]
)
def test_times_as_people_write_them(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("0.01", 0.01), ("2.5 %", 0.025), (".5%", 0.005)])
def test_shares_as_people_write_them(text, value):
    assert share(text) == pytest.approx(value)


@given(st.text(max_size=8))
def test_no_quantity_is_more_than_a_usage_error(text):
    for read in (seconds, share):
        with contextlib.suppress(UsageError):
            assert isinstance(read(text), float)


@pytest.mark.parametrize("read", [seconds, share])
@pytest.mark.parametrize("text", ["", "x", "%", "1x", "1 2", "nan", "inf", "٣", "1_0"])
def test_what_is_no_quantity_is_shown_with_examples(read, text):
    with pytest.raises(UsageError, match=f"'{text}' is not valid: such as 1"):
        read(text)


def test_precision_and_budget_reach_the_plan():
    plan = make_plan(preset="tiny", backends="numpy", precision_goal=share("1%"), budget_s=seconds("2m"))
    assert (plan.rigor.goal, plan.rigor.budget_s) == (0.01, 120)
    assert make_plan(preset("tiny"), backends="numpy").rigor.goal == 0.03
    assert make_plan(preset("tiny"), backends="numpy", precision_goal=0.2).precision == "ieee"


@pytest.mark.workers
def test_a_loose_goal_ends_the_run_at_the_least_rounds(tmp_path):
    run = ganbench.compare(
        "numpy,numpy.inplace", preset="tiny", ops=["matmul"], precision_goal=0.999, budget_s=200, results=tmp_path
    )
    assert run.ended.how in ("precision", "budget")
    assert run.to_pandas()["rounds"].min() >= MIN_ROUNDS
