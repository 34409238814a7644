"""``ganbench recommend``: arithmetic that holds for any times, and a sentence that never says more than it knows."""

import itertools
import json
import math
import re

import pytest
from hypothesis import given, strategies as st

from ganbench import registry
from ganbench.report.recommendation import START_DOUBT, Candidate, outlook, ratio, recommend
from ganbench.report.recommendation_text import more, sentence, turning_points
from ganbench.results.statistics import Estimate

GOOD = Estimate(1.0, 0.995, 1.005)  # a control that shows nothing
seconds = st.floats(1e-3, 1e3)
counts = st.integers(0, 10**9)


@st.composite
def candidates(draw, size, rounds=6):
    """Targets of one run, alone or with a copy: the same rounds, two visits in each."""
    visits = st.fixed_dictionaries(dict.fromkeys((0, 1), st.floats(1e-6, 1e-1)))
    copies = st.lists(st.fixed_dictionaries(dict.fromkeys(range(1, rounds + 1), visits)), min_size=1, max_size=2)
    return [Candidate(f"t{i}", draw(seconds), draw(seconds), draw(copies)) for i in range(draw(size))]


def steady(target, start, per, rounds=6, scatter=0.001):
    """A target whose iterations scatter little, and in every round alike."""
    return Candidate(target, start, start, [{i: {0: per * (1 + scatter * i)} for i in range(1, rounds + 1)}], "kept")


pairs = candidates(st.just(2))
several = candidates(st.integers(2, 4))


@given(candidates(st.just(1)), counts, counts)
def test_more_iterations_never_take_less(one, a, b):
    few, many = sorted((a, b))
    assert all(x <= y for x, y in zip(one[0].total(few), one[0].total(many), strict=True))


@given(several)
def test_without_iterations_the_order_is_that_of_the_starts(found):
    ranked = recommend(found, 0).standings
    starts = [standing.candidate.start_s for standing in ranked]
    assert starts == sorted(starts)
    for standing in ranked:
        start = standing.candidate.start_s
        assert standing.total == pytest.approx((start, start / START_DOUBT, start * START_DOUBT))


@given(several)
def test_in_the_long_run_the_order_is_that_of_the_iterations(found):
    ranked = [standing.candidate.iteration.value for standing in recommend(found, 10**15).standings]
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(ranked))


@given(pairs, counts)
def test_a_ratio_is_between_its_bounds_and_the_same_seen_from_the_other_side(pair, iterations):
    there, back = ratio(*pair, iterations), ratio(*reversed(pair), iterations)
    assert there.low * (1 - 1e-9) <= there.value <= there.high * (1 + 1e-9)
    assert (there.value, there.low, there.high) == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))


@given(pairs, counts, st.floats(1e-2, 1e2))
def test_a_ratio_does_not_depend_on_the_unit(pair, iterations, unit):
    def scaled(candidate):
        copies = [
            {i: {n: unit * s for n, s in visits.items()} for i, visits in copy.items()} for copy in candidate.copies
        ]
        return candidate._replace(start_s=unit * candidate.start_s, copies=copies)

    assert ratio(*map(scaled, pair), iterations) == pytest.approx(ratio(*pair, iterations))


@given(several, counts)
def test_what_is_recommended_is_ahead_of_all_others_by_more_than_the_band(found, iterations):
    result = recommend(found, iterations, GOOD)
    if not result.rivals:
        assert all(standing.against.low > 1.02 for standing in result.standings[1:])
    assert {s.target for s in result.standings} == {c.target for c in found}


@given(several, counts)
def test_a_control_that_failed_leaves_nothing_to_recommend(found, iterations):
    result = recommend(found, iterations, Estimate(1.1, 1.08, 1.12))
    assert len(result.rivals) == len(found) - 1
    assert turning_points(result) == []
    assert "the control failed" in sentence(result)


@given(candidates(st.integers(2, 3), rounds=4), counts)
def test_too_few_rounds_recommend_nothing(found, iterations):
    result = recommend(found, iterations)
    assert len(result.rivals) == len(found) - 1
    assert "4 rounds of the 5" in sentence(result)


COMPILED, PLAIN = steady("compiled", 10.0, 1e-3), steady("plain", 1.0, 2e-3)


def test_the_compiled_target_is_recommended_once_its_start_has_paid():
    long = recommend([PLAIN, COMPILED], 100_000, GOOD)
    assert "for 100,000 iterations: compiled, 110 s [107 s, 116 s]" in sentence(long)
    assert re.search(r"the runner-up, plain, takes 83 % \[7\d, 8\d\] more$", sentence(long))
    assert turning_points(long) == ["below about 8,969 iterations plain is quicker: it starts sooner"]
    short = recommend([PLAIN, COMPILED], 100, GOOD)
    assert "for 100 iterations: plain, 1.20 s" in sentence(short)
    assert "compiled, takes 8.4 [4" in sentence(short)
    assert turning_points(short) == [
        "beyond about 8,969 iterations compiled is quicker: by then its longer start has paid off"
    ]
    near = recommend([PLAIN, COMPILED], 9_000, GOOD)
    assert "cannot tell compiled and plain apart for 9,000 iterations" in sentence(near)
    assert sentence(near).endswith("a longer --budget may decide")
    assert "it depends on start-up time, measured only once" in sentence(recommend([PLAIN, COMPILED], 14_000, GOOD))


def test_the_outlook_has_the_answer_for_every_number_of_iterations():
    """From one change to the next it is what ``recommend`` says; the first and the last of each stretch are tried."""
    third = steady("third", 3.0, 1.5e-3)
    found = outlook([PLAIN, COMPILED, third], GOOD)
    assert [(first, rivals) for _, first, rivals in found[:1]] == [("plain", [])]
    assert [(first, rivals) for _, first, rivals in found[-1:]] == [("compiled", [])]
    assert {"plain", "third", "compiled"} == {first for _, first, _ in found}
    ends = [count - 1 for count, *_ in found[1:]] + [10_000_000]
    for (count, first, rivals), end in zip(found, ends, strict=True):
        for iterations in (count, end):
            said = recommend([PLAIN, COMPILED, third], iterations, GOOD)
            assert (said.first.target, {standing.target for standing in said.rivals}) == (first, set(rivals))


def test_a_single_round_makes_nobody_first():
    once = [steady("plain", 1.0, 2e-3, rounds=1), steady("compiled", 10.0, 1e-3, rounds=1)]
    assert all(len(rivals) == 1 for _, _, rivals in outlook(once, GOOD))


def test_a_warm_cache_counts_where_it_is_asked_for():
    warm = COMPILED._replace(warm_start_s=1.0)
    assert recommend([PLAIN, warm], 2000, GOOD).first.target == "plain"
    assert recommend([PLAIN, warm], 2000, GOOD, warm=True).first.target == "compiled"


def test_the_same_is_said_to_be_the_same():
    said = sentence(recommend([PLAIN, PLAIN._replace(target="twin")], 10**7, GOOD))
    assert "cannot tell plain and twin apart" in said
    assert "the same within 2%, either will do" in said


def test_one_target_has_nothing_to_be_compared_with():
    assert "nothing else was measured" in sentence(recommend([PLAIN], 1, GOOD))


@pytest.mark.parametrize(
    ("against", "said"),
    [
        ((1.06, 1.02, 1.10), "6 % [2, 10] more"),
        ((1.01, 0.97, 1.05), "1 % [-3, 5] more"),
        ((2.34, 2.11, 2.51), "2.3 [2.1, 2.5] times as long"),
        ((1.5, math.nan, math.nan), "50 % more"),
    ],
)
def test_a_cost_in_words(against, said):
    assert more(Estimate(*against)) == said


# The command ------------------------------------------------------------------------------------------------


def said(ganbench_cli, path, *arguments, iterations=10**8, code=0):
    found, out, err = ganbench_cli("recommend", "--run", path, "--iterations", iterations, *arguments)
    assert found == code, err
    return out, err


def test_a_kept_run_is_enough(ganbench_cli, craft, tmp_path):
    path = craft(tmp_path, {"torch": 2.0, "torch.manual": 3.0})
    out, _ = said(ganbench_cli, path)
    assert out.startswith("for 100,000,000 iterations: torch.manual, ")
    assert "; the runner-up, torch, takes 50 % [50, 50] more " in " ".join(out.split())
    assert "control (numpy / its second copy)" in out
    assert "denormal moments may slow torch.manual" in out
    assert "cannot tell" in said(ganbench_cli, path, iterations=1)[0]
    plain = json.loads(said(ganbench_cli, path, "--format", "json")[0])
    assert plain["recommended"] == "torch.manual"
    assert [standing["target"] for standing in plain["standings"]] == ["torch.manual", "torch", "numpy"]
    assert json.loads(said(ganbench_cli, path, "--format", "json", iterations=1)[0])["recommended"] is None


def test_what_was_not_verified_is_never_named_as_an_answer(ganbench_cli, craft, tmp_path):
    path = craft(tmp_path, {"torch": 9.0, "jax": 2.0}, statuses={("gan_iteration", "torch"): "invalid"})
    plain = json.loads(said(ganbench_cli, path, "--format", "json")[0])
    assert plain["recommended"] == "jax"
    assert "torch" not in " ".join(plain["said"])
    assert plain["left_out"] == {"torch": "invalid: torch went wrong"}
    assert "left out: torch: invalid: torch went wrong" in said(ganbench_cli, path)[0]


def test_nothing_verified_is_exit_1(ganbench_cli, craft, tmp_path):
    path = craft(tmp_path, {}, statuses={("gan_iteration", "numpy"): "failed"})
    out, err = said(ganbench_cli, path, code=1)
    assert not out
    assert "left out: numpy: failed: numpy went wrong" in err
    assert "nothing can be recommended" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--iterations", "0"], "iterations 0 is not valid"),
        (["--iterations", "many"], "not a valid integer"),
        ([], "Missing option '--iterations'"),
        (["--iterations", "9", "--run", "nope"], "no run 'nope'"),
        (["--iterations", "9", "--run", "nope", "--preset", "tiny"], "--preset cannot be given with --run"),
        (["--iterations", "9", "--run", "nope", "--math", "tf32"], "--math cannot be given with --run"),
        (["--iterations", "9", "--math", "fast"], "unknown math 'fast' (known: ieee, mixed, tf32)"),
        (["--iterations", "9", "--backends", "toch"], "unknown backend 'toch'"),
        (["--iterations", "9", "--preset", "huge"], ", deep, mnist-mlp, "),
        (["--iterations", "9", "--budget", "-3"], "budget -3"),
    ],
)
def test_bad_input_is_exit_2_and_one_message(ganbench_cli, tmp_path, arguments, named):
    code, _, err = ganbench_cli("recommend", "--results", tmp_path, *arguments)
    assert code == 2
    assert named in err


def test_a_run_of_other_operations_is_refused(ganbench_cli, craft, tmp_path):
    _, err = said(ganbench_cli, craft(tmp_path, operations=["matmul"]), code=2)
    assert "did not measure gan_iteration, but matmul" in err


@pytest.mark.workers
def test_it_measures_and_keeps_the_run(ganbench_cli, tmp_path):
    code, out, err = ganbench_cli(
        "recommend", "--iterations", 1000, "--backends", "numpy", "--preset", "tiny", "--budget", "2s",
        "--results", tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert "for 1,000 iterations: numpy, " in out
    (path,) = tmp_path.glob("*/compare/*.jsonl")
    assert f"saved in {path}" in err


def test_by_default_every_mode_that_is_here_takes_part():
    labels = registry.available()
    assert {"numpy", "numpy.inplace", "torch", "torch.textbook", "torch.compile", "jax", "jax.scan"} <= set(labels)
    assert len(registry.parse_targets(labels)) == len(labels)
