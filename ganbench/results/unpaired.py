"""Two samples of which no two values belong together, such as the rounds of two runs."""

import functools
import itertools
import math
import statistics
from collections.abc import Sequence

from .statistics import CONFIDENCE, Estimate, exp

EXACT = 50  # samples of more values take the normal approximation, which is then off by at most one rank


@functools.cache
def rank_sum_cut(m: int, n: int, confidence: float = CONFIDENCE) -> int:
    """Return k such that the k-th smallest and k-th largest of the m·n differences bound a shift; 0 if none.

    k is the largest with P(U ≤ k − 1) ≤ (1 − confidence)/2: from the exact null distribution of Mann and
    Whitney's U up to ``EXACT`` values a side, beyond that from its normal approximation.
    """
    if max(m, n) > EXACT:
        spread = math.sqrt(m * n * (m + n + 1) / 12)
        tail = statistics.NormalDist().inv_cdf((1 - confidence) / 2)
        return max(0, math.floor(m * n / 2 + 0.5 + tail * spread))
    # The number of orders of both samples with U = u is a coefficient of the Gaussian binomial
    # (1 − q^(n+1)) ··· (1 − q^(n+m)) / (1 − q) ··· (1 − q^m).
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    allowed = (1 - confidence) / 2 * sum(counts)
    return sum(below <= allowed for below in itertools.accumulate(counts))


def shift(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Return how far ``after`` lies above ``before``, two samples of which no two values are paired.

    The median of all differences, with the interval that inverts the test of Mann and Whitney (Hollander,
    Wolfe & Chicken 2013, sections 4.2 and 4.3). It takes the samples to differ in location alone.
    """
    ordered, cut = sorted(b - a for a in before for b in after), rank_sum_cut(len(before), len(after))
    low, high = (ordered[cut - 1], ordered[-cut]) if cut else (math.nan, math.nan)
    return Estimate(statistics.median(ordered), low, high)


def unpaired_ratio(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Return after ÷ before for positive values of two runs, whose rounds are independent."""
    return exp(shift([math.log(value) for value in before], [math.log(value) for value in after]))
