"""Two samples of which no two values are paired, against published tables and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ganbench.results.unpaired import EXACT, rank_sum_cut, shift, unpaired_ratio

finite = st.floats(-5, 5, allow_nan=False)

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
