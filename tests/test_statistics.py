"""The statistics, against published tables and brute force."""

import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from ganbench.results.statistics import (
    MIN_ROUNDS,
    WEIGHT,
    Estimate,
    detectable,
    half_width,
    hodges_lehmann,
    judge,
    round_logs,
    speed_of,
    speed_ratio,
    student,
    trimmed_error,
    trimmed_mean,
    typical,
    variance,
)


@given(st.lists(st.floats(-1e100, 1e100), min_size=2))
def test_the_variance_is_that_of_python(values):
    assert variance(values) == statistics.variance(values)


@pytest.mark.parametrize("n", range(1, MIN_ROUNDS))
def test_no_interval_of_fewer_rounds_than_decide(n):
    assert not hodges_lehmann([1.0] * n).has_interval


def test_hodges_lehmann_matches_a_worked_example():
    """Hollander & Wolfe, table 3.1 (depression scale): estimate −0.46; about it is Student's interval, 2.3 % wider."""
    z = [-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010]
    estimate = hodges_lehmann(z)
    assert estimate.value == pytest.approx(-0.46)
    half = 1.0233 * 2.306 * statistics.stdev(z) / 3
    assert (estimate.low, estimate.high) == pytest.approx((-0.46 - half, -0.46 + half), rel=1e-3)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 4.5, 7, 11.3, 30, 200])
def test_students_quantiles_are_the_published_ones(freedom):
    assert student(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-3)


def half_of(estimate):
    return (estimate.high - estimate.low) / 2


scattered = st.lists(st.floats(-1, 1), min_size=MIN_ROUNDS, max_size=20).filter(lambda v: statistics.stdev(v) > 1e-3)


@given(scattered)
def test_what_passes_say_counts_unless_the_rounds_contradict_it(values):
    rounds, seen = len(values), statistics.variance(values)
    standard_error = math.sqrt(math.pi / 3 * seen / rounds)  # of a Hodges–Lehmann estimate
    alone = hodges_lehmann(values)
    assert half_of(alone) == pytest.approx(scipy.stats.t.ppf(0.975, rounds - 1) * standard_error, rel=1e-3)
    agreeing = hodges_lehmann(values, seen)
    freedom = rounds - 1 + WEIGHT
    assert half_of(agreeing) == pytest.approx(scipy.stats.t.ppf(0.975, freedom) * standard_error, rel=1e-3)
    lucky = hodges_lehmann(values, 100 * seen)  # rounds that happen to agree better than their passes do
    assert half_of(lucky) > 3 * half_of(alone)
    differing = hodges_lehmann(values, seen / 100)
    assert half_of(differing) == pytest.approx(half_of(alone), rel=0.01)
    assert alone.value == agreeing.value == lucky.value == differing.value


finite = st.floats(-5, 5, allow_nan=False)


@given(st.lists(finite, min_size=MIN_ROUNDS, max_size=20), finite)
def test_shift_moves_the_interval_with_it(values, shift):
    before, after = hodges_lehmann(values), hodges_lehmann([v + shift for v in values])
    assert after == pytest.approx([x + shift for x in before])
    assert before.low <= before.value <= before.high


@given(st.lists(st.tuples(st.floats(1e-7, 10), st.floats(1e-7, 10)), min_size=6, max_size=15))
def test_ratio_of_swapped_targets_is_the_reciprocal(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = speed_ratio(a, b), speed_ratio(b, a)
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / back.high)


def test_ratio_is_paired_by_round():
    """A machine that doubles its speed half-way leaves the ratio of each round alone."""
    drift = np.array([1.0, 1.1, 1.0, 2.0, 2.1, 2.0])
    ratio = speed_ratio(list(3e-3 * drift), list(2e-3 * drift))
    assert tuple(ratio) == pytest.approx((1.5, 1.5, 1.5))


def test_typical_is_near_the_median():
    seconds = [0.010, 0.011, 0.0105, 0.0102, 0.0108, 0.0101, 0.0099]
    estimate = typical(seconds)
    assert 0.0099 <= estimate.low <= estimate.value <= estimate.high <= 0.011
    assert estimate.value == pytest.approx(statistics.median(seconds), rel=0.02)


@pytest.mark.parametrize("rounds", [MIN_ROUNDS, 8])
@pytest.mark.parametrize(("uneven", "most"), [(0.0, 0.055), (0.1, 0.07)])
def test_interval_covers_the_truth_as_often_as_it_says(rounds, uneven, most):
    """2,000 cases without a true difference, of nine passes a round; some with rounds that differ by twice as much."""
    rng = np.random.default_rng(rounds)
    misses = 0
    for _ in range(2000):
        luck = 0.1 * (rng.random() < uneven)
        rows = [(luck * rng.standard_normal() + 0.15 * rng.standard_normal(9)).tolist() for _ in range(rounds)]
        error = statistics.fmean(map(trimmed_error, rows))
        estimate = hodges_lehmann([*map(trimmed_mean, rows)], error)
        misses += not estimate.low <= 0 <= estimate.high
    assert misses / 2000 < most


@given(st.lists(finite, min_size=3, max_size=40), finite)
def test_the_error_of_a_trimmed_mean_does_not_depend_on_where_it_lies(values, offset):
    error = trimmed_error(values)
    assert error >= 0
    assert trimmed_error([value + offset for value in values]) == pytest.approx(error, abs=1e-6)
    assert trimmed_error([2 * value for value in values]) == pytest.approx(4 * error)


def test_the_error_of_a_trimmed_mean_is_how_far_it_scatters():
    """Of normal passes and of those with stalls, of which the mean of 9 scatters by a third."""
    rng = np.random.default_rng(1)
    for draw in (rng.standard_normal, lambda shape: rng.standard_t(3, shape)):
        rows = draw((2000, 9)).tolist()
        seen = statistics.variance(map(trimmed_mean, rows))
        assert statistics.fmean(map(trimmed_error, rows)) == pytest.approx(seen, rel=0.15)


NOTHING = Estimate(1.0, 0.99, 1.01)


@pytest.mark.parametrize(
    ("ratio", "rounds", "control", "expected"),
    [
        (Estimate(1.34, 1.31, 1.37), 8, NOTHING, "faster"),
        (Estimate(0.8, 0.78, 0.82), 8, NOTHING, "slower"),
        (Estimate(1.0, 0.99, 1.01), 8, NOTHING, "same"),
        (Estimate(1.03, 1.01, 1.05), 8, NOTHING, "undecided"),
        (Estimate(1.021, 1.019, 1.023), 8, None, "undecided"),
        (Estimate(9.0, math.nan, math.nan), 4, NOTHING, "undecided"),
        (Estimate(9.0, math.nan, math.nan), 1, NOTHING, "undecided"),
        (Estimate(1.34, 1.31, 1.37), 8, Estimate(1.05, 1.03, 1.07), "control failed"),
        (Estimate(1.34, 1.31, 1.37), 8, Estimate(1.05, 1.01, 1.09), "faster"),
    ],
)
def test_verdicts(ratio, rounds, control, expected):
    found = judge(ratio, rounds, control)
    assert found.outcome == expected
    assert (found.ratio, found.control) == (ratio, control)
    assert math.isnan(found.detectable) == (rounds < MIN_ROUNDS)


def test_half_width_is_infinite_without_an_interval():
    assert half_width(Estimate(1.0, math.nan, math.nan)) == math.inf
    assert half_width(Estimate(1.0, 1 / 1.03, 1.03)) == pytest.approx(math.log(1.03))


# Visits of one pass are neighbours in time ------------------------------------------------------------------


def ratio_of(baseline, target):
    """The ratio of a single round."""
    return math.exp(round_logs([{1: baseline}], [{1: target}])[1])


visits = st.dictionaries(st.integers(0, 99), st.floats(1e-6, 1e2), min_size=1, max_size=9)


@given(visits, st.floats(0.1, 10))
def test_a_drift_that_hits_both_visits_of_a_pass_cancels(drift, ratio):
    slower = {number: ratio * seconds for number, seconds in drift.items()}
    assert ratio_of(slower, drift) == pytest.approx(ratio)
    assert ratio_of(drift, slower) == pytest.approx(1 / ratio)


def test_only_passes_in_which_both_were_visited_count():
    assert ratio_of({0: 2.0, 1: 50.0, 2: 2.0}, {0: 1.0, 2: 1.0, 3: 7.0}) == pytest.approx(2.0)


def as_visits(*seconds):
    return dict(enumerate(seconds))


def test_a_stall_of_one_visit_in_five_changes_nothing():
    assert ratio_of(as_visits(1.0, 1.0, 9.0, 1.0, 1.0), as_visits(*[0.5] * 5)) == pytest.approx(2.0)


def as_rounds(*rounds):
    """One process a round, visited once in each for so many seconds."""
    return {number: {0: seconds} for number, seconds in enumerate(rounds, 1)}


def test_the_speed_is_that_of_the_rounds_ratios():
    baseline, target = [dict.fromkeys(range(8), as_visits(*times)) for times in ((2.0, 2.2, 1.8), (1.0, 1.1, 0.9))]
    assert speed_of([baseline], [target]) == pytest.approx((2.0, 2.0, 2.0))
    assert speed_of([baseline], [{}]) is None


@given(st.lists(st.tuples(*[st.floats(0.1, 10)] * 3), min_size=1, max_size=9))
def test_against_two_copies_the_luck_of_either_counts_for_half(rounds):
    one, other, target = (as_rounds(*times) for times in zip(*rounds, strict=True))
    found = round_logs([one, other], [target])
    assert found == pytest.approx({i: math.log(math.sqrt(a * b) / t) for i, (a, b, t) in enumerate(rounds, 1)})
    assert round_logs([target], [one, other]) == pytest.approx({i: -log for i, log in found.items()})


def test_a_round_that_only_one_copy_was_visited_in_counts():
    one, other, target = as_rounds(2.0, 2.0), as_rounds(8.0), as_rounds(1.0, 1.0)
    assert round_logs([one, other], [target]) == pytest.approx({1: math.log(4.0), 2: math.log(2.0)})


# The margin -----------------------------------------------------------------------------------------------------


def test_a_difference_must_leave_the_band_by_more_than_its_own_interval_and_the_controls():
    ratio = Estimate(1.06, 1.04, 1.08)
    assert judge(ratio, 6, None).outcome == "faster"
    assert judge(ratio, 6, Estimate(1.0, 0.99, 1.01)).outcome == "faster"
    assert judge(ratio, 6, Estimate(1.0, math.nan, math.nan)).outcome == "faster"
    for wide in (judge(ratio, 6, Estimate(1.0, 0.96, 1.04)), judge(ratio._replace(low=1.025, high=1.096), 6, None)):
        assert wide.outcome == "undecided"
        assert wide.detectable > 0.06


@given(st.floats(0.001, 0.3), st.floats(1.05, 3.0))
def test_what_would_have_been_shown_is_what_is_shown(scatter, factor):
    interval = [math.exp(scatter * side) for side in (-1, 1)]
    shown = 1 + detectable(scatter)
    for ratio in (shown * factor, 1 / (shown * factor), shown / factor):
        expected = "faster" if ratio > shown else "slower" if ratio < 1 / shown else "undecided"
        found = judge(Estimate(ratio, ratio * interval[0], ratio * interval[1]), 8, None)
        assert found.detectable == pytest.approx(shown - 1)
        assert found.outcome == expected or (expected, found.outcome) == ("undecided", "same")


@pytest.mark.parametrize("rounds", [MIN_ROUNDS, 8])
def test_the_margin_keeps_false_verdicts_rare_whatever_the_rounds(rounds):
    """A/A of six passes a round that scatter by 25 %, and processes that differ by 3 % besides."""
    rng = np.random.default_rng(rounds)

    def copy():
        luck, passes = 0.03 * rng.standard_normal((rounds, 1)), 0.25 * rng.standard_normal((rounds, 6))
        return {number: as_visits(*seconds) for number, seconds in enumerate(np.exp((luck + passes) / 2**0.5).tolist())}

    false = 0
    for _ in range(2000):
        base, other, target = copy(), copy(), copy()
        ratio, control = speed_of([base, other], [target]), speed_of([base], [other])
        false += judge(ratio, rounds, control).outcome in ("faster", "slower")
    assert false / 2000 < 0.002
