"""The statistics, against published tables and brute force."""

import itertools
import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from ganbench.results.statistics import (
    EXACT,
    Estimate,
    detectable,
    half_width,
    hodges_lehmann,
    judge,
    rank_sum_cut,
    round_logs,
    shift,
    signed_rank_cut,
    speed_of,
    speed_ratio,
    typical,
    unpaired_ratio,
)

# Largest T with P(T⁺ ≤ T) ≤ 0.025: Wilcoxon & Wilcox 1964, as reprinted in every table of the test.
CRITICAL = dict(
    zip(
        range(6, 31),
        [0, 2, 3, 5, 8, 10, 13, 17, 21, 25, 29, 34, 40, 46, 52, 58, 65, 73, 81, 89, 98, 107, 116, 126, 137],
        strict=True,
    )
)


@pytest.mark.parametrize(("n", "critical"), CRITICAL.items())
def test_cut_matches_the_published_quantiles(n, critical):
    assert signed_rank_cut(n) == critical + 1


@pytest.mark.parametrize("n", range(1, 6))
def test_no_interval_below_six(n):
    assert signed_rank_cut(n) == 0
    assert not hodges_lehmann([1.0] * n).has_interval


@pytest.mark.parametrize("n", range(6, 13))
def test_cut_matches_brute_force(n):
    values = sorted(
        sum(rank for rank, sign in zip(range(1, n + 1), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=n)
    )
    k = signed_rank_cut(n)
    below = [sum(v <= w for v in values) / 2**n for w in (k - 1, k)]
    assert below[0] <= 0.025 < below[1]


def test_hodges_lehmann_matches_a_worked_example():
    """Hollander & Wolfe, table 3.1 (depression scale): estimate −0.46, 96 % interval (−0.786, −0.010)."""
    z = [-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010]
    estimate = hodges_lehmann(z)
    assert estimate.value == pytest.approx(-0.46)
    assert (estimate.low, estimate.high) == pytest.approx((-0.786, -0.010))


@pytest.mark.parametrize("n", [6, 8, 11, 20])
def test_interval_holds_what_the_exact_test_does_not_reject(n):
    """The bounds are where SciPy's exact signed-rank test begins to reject, tried a little to either side."""
    rng = np.random.default_rng(n)
    for _ in range(10):
        z = rng.standard_normal(n)
        estimate = hodges_lehmann(z.tolist())
        assert estimate.value == pytest.approx(np.median([(a + b) / 2 for i, a in enumerate(z) for b in z[i:]]))
        for bound, outward in ((estimate.low, -1e-9), (estimate.high, 1e-9)):
            inside, outside = (
                scipy.stats.wilcoxon(z - centre, method="exact").pvalue for centre in (bound - outward, bound + outward)
            )
            assert outside <= 0.05 < inside


finite = st.floats(-5, 5, allow_nan=False)


@given(st.lists(finite, min_size=6, max_size=20), finite)
def test_shift_moves_the_interval_with_it(values, shift):
    before, after = hodges_lehmann(values), hodges_lehmann([v + shift for v in values])
    assert after == pytest.approx([x + shift for x in before])
    assert before.low <= before.value <= before.high
    assert min(values) <= before.low
    assert before.high <= max(values)


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
    seconds = [0.010, 0.011, 0.0105, 0.0102, 0.0108, 0.0101, 0.050]
    estimate = typical(seconds)
    assert 0.010 <= estimate.low <= estimate.value <= estimate.high <= 0.050
    assert estimate.value == pytest.approx(statistics.median(seconds), rel=0.05)


def test_interval_covers_the_truth_as_often_as_it_says():
    """2,000 simulated runs of 8 rounds without a true difference: exact coverage is 96.1 %."""
    rng = np.random.default_rng(1)
    misses = sum(
        not (e.low <= 0 <= e.high) for e in (hodges_lehmann(list(rng.standard_normal(8))) for _ in range(2000))
    )
    assert 0.025 < misses / 2000 < 0.055


NOTHING = Estimate(1.0, 0.99, 1.01)


@pytest.mark.parametrize(
    ("ratio", "rounds", "control", "expected"),
    [
        (Estimate(1.34, 1.31, 1.37), 8, NOTHING, "faster"),
        (Estimate(0.8, 0.78, 0.82), 8, NOTHING, "slower"),
        (Estimate(1.0, 0.99, 1.01), 8, NOTHING, "same"),
        (Estimate(1.03, 1.01, 1.05), 8, NOTHING, "undecided"),
        (Estimate(1.021, 1.019, 1.023), 8, None, "undecided"),
        (Estimate(9.0, math.nan, math.nan), 5, NOTHING, "undecided"),
        (Estimate(9.0, math.nan, math.nan), 1, NOTHING, "undecided"),
        (Estimate(1.34, 1.31, 1.37), 8, Estimate(1.05, 1.03, 1.07), "control failed"),
        (Estimate(1.34, 1.31, 1.37), 8, Estimate(1.05, 1.01, 1.09), "faster"),
    ],
)
def test_verdicts(ratio, rounds, control, expected):
    found = judge(ratio, rounds, control)
    assert found.outcome == expected
    assert (found.ratio, found.control) == (ratio, control)
    assert math.isnan(found.detectable) == (rounds < 6)


def test_half_width_is_infinite_without_an_interval():
    assert half_width(Estimate(1.0, math.nan, math.nan)) == math.inf
    assert half_width(Estimate(1.0, 1 / 1.03, 1.03)) == pytest.approx(math.log(1.03))


# Largest U with P(U ≤ this) ≤ 0.025: Mann & Whitney's table, as reprinted everywhere.
CRITICAL_U = {
    (4, 4): 0, (3, 5): 0, (5, 5): 2, (6, 6): 5, (6, 8): 8, (7, 7): 8, (8, 8): 13, (9, 9): 17, (10, 10): 23,
    (8, 12): 22, (12, 12): 37, (12, 20): 69, (15, 15): 64, (20, 20): 127,
}  # fmt: skip


@pytest.mark.parametrize(("sizes", "critical"), CRITICAL_U.items())
def test_unpaired_cut_matches_the_published_quantiles(sizes, critical):
    assert rank_sum_cut(*sizes) == rank_sum_cut(*reversed(sizes)) == critical + 1


@pytest.mark.parametrize(("m", "n"), [(m, n) for m in range(1, 7) for n in range(1, 7)])
def test_unpaired_cut_matches_brute_force(m, n):
    ranks = range(m + n)
    values = [sum(c) - m * (m - 1) // 2 for c in itertools.combinations(ranks, m)]
    k = rank_sum_cut(m, n)
    below = [sum(u <= limit for u in values) / len(values) for limit in (k - 1, k)]
    assert below[0] <= 0.025 < below[1]


@pytest.mark.parametrize(("m", "n"), [(9, 14), (30, 22), (51, 12), (90, 80)])
def test_unpaired_cut_matches_scipy(m, n):
    """Exact up to 50 values a side; beyond, at most one rank from what SciPy finds exactly."""
    scipy_stats = pytest.importorskip("scipy.stats")
    k, slack = rank_sum_cut(m, n), max(m, n) > EXACT

    def tail(u):
        """Return P(U ≤ u), by way of samples that have that U."""
        wins = np.clip(u - n * np.arange(m), 0, n)  # how many of y each x exceeds
        x = wins - 0.5 + np.linspace(0, 0.1, m)
        found = scipy_stats.mannwhitneyu(x, np.arange(n), alternative="less", method="exact")
        assert found.statistic == u
        return found.pvalue

    assert tail(k - 1 - slack) <= 0.025 < tail(k + slack)


def test_shift_matches_a_worked_example():
    """Hollander & Wolfe, table 4.1 (permeability of membranes): estimate −0.305, interval (−0.76, 0.15)."""
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    assert tuple(shift(term, early)) == pytest.approx((-0.305, -0.76, 0.15))


samples = st.lists(finite, min_size=4, max_size=15)


@given(samples, samples, finite)
def test_unpaired_shift_follows_its_samples(before, after, moved):
    estimate = shift(before, after)
    assert min(after) - max(before) <= estimate.low <= estimate.value <= estimate.high <= max(after) - min(before)
    assert shift(before, [x + moved for x in after]) == pytest.approx([x + moved for x in estimate])
    back = shift(after, before)
    assert tuple(estimate) == pytest.approx((-back.value, -back.high, -back.low))


@given(st.randoms(use_true_random=False), samples, samples)
def test_unpaired_shift_knows_no_order_of_rounds(random, before, after):
    mixed = [random.sample(values, len(values)) for values in (before, after)]
    assert shift(*mixed) == pytest.approx(shift(before, after))


def test_three_rounds_a_side_give_no_unpaired_interval():
    assert not shift([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).has_interval


@pytest.mark.parametrize("sizes", [(6, 6), (8, 12), (60, 60)])
def test_unpaired_interval_covers_the_truth_as_often_as_it_says(sizes):
    rng = np.random.default_rng(2)
    runs = 1000 if max(sizes) < EXACT else 200
    found = (unpaired_ratio(*(list(rng.lognormal(0, 0.05, size)) for size in sizes)) for _ in range(runs))
    assert sum(not (e.low <= 1 <= e.high) for e in found) / runs <= 0.07


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


def test_the_margin_keeps_false_verdicts_rare_whatever_the_rounds():
    """A/A that scatters by 10 % a round: of 16,000 verdicts 3 are false."""
    rng = np.random.default_rng(0)
    for rounds in (6, 8, 10, 20):
        false = 0
        for _ in range(4000):
            base, copy, target = (
                as_rounds(*times) for times in np.exp(0.1 / 2**0.5 * rng.standard_normal((3, rounds)))
            )
            control, ratio = speed_of([base], [copy]), speed_of([base, copy], [target])
            false += judge(ratio, rounds, control).outcome in ("faster", "slower")
        assert false / 4000 < 0.001
