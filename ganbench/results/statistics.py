"""From rounds to a verdict: pure functions on plain numbers.

Rounds are paired: every target is measured in each, beside the others. The log-ratios of the rounds give
a Hodges–Lehmann estimate and the exact interval that inverts Wilcoxon's signed-rank test (Hollander,
Wolfe & Chicken 2013, section 3.1-3.3). No normality is assumed, and no variance.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

CONFIDENCE = 0.95
TRIM = 0.05  # of the visits of a round, at either end: docs/decisions/0006
Visits = Mapping[int, float]  # seconds per iteration of each visit of a round, by pass
Rounds = Mapping[int, Visits]  # by round, the visits to one copy of a case
BAND = 0.02  # two targets within 2 % are the same for every practical purpose
MIN_ROUNDS = 6  # fewer signed ranks cannot give 95 %
# How far a ratio must leave the band to be called faster or slower, in half-widths of the wider of its own interval
# and the control's. An interval of 95 % alone is wrong too often for a table of twenty rows: docs/decisions/0006.
MARGIN = 1.2
# The mean half-widths of intervals of 6, 7, ... rounds: of 40,000 on normal numbers each (tests/test_passes.py).
WIDTHS = (
    1.269, 0.932, 0.884, 0.811, 0.712, 0.697, 0.660, 0.609, 0.579, 0.561, 0.551, 0.529, 0.504,
    0.486, 0.474, 0.467, 0.455, 0.440, 0.429, 0.421, 0.409, 0.401, 0.397, 0.388, 0.379,
)  # fmt: skip
EXACT = 50  # samples of more values take the normal approximation, which is then off by at most one rank


class Estimate(NamedTuple):
    """A value with its 95 % interval; NaN bounds where there are too few rounds for one."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there were rounds enough for an interval."""
        return not math.isnan(self.low)

    def shown(self, form: Callable[[float], str]) -> str:
        """Return ``value [low, high]``, each as ``form`` writes it; the value alone where there is no interval."""
        bounds = f" [{form(self.low)}, {form(self.high)}]" if self.has_interval else ""
        return form(self.value) + bounds


Outcome = Literal["faster", "slower", "same", "undecided", "baseline", "control failed"]


class Verdict(NamedTuple):
    """The conclusion about a target's speed relative to the baseline.

    ``detectable`` is the smallest relative difference that would have been called faster or slower; NaN if there are
    too few rounds. ``control`` is the baseline against its second copy, if there was one.
    """

    outcome: Outcome
    ratio: Estimate
    detectable: float
    control: Estimate | None


@functools.cache
def signed_rank_cut(n: int, confidence: float = CONFIDENCE) -> int:
    """Return k such that the k-th smallest and k-th largest Walsh averages bound the interval; 0 if none.

    k is the largest with P(W⁺ ≤ k − 1) ≤ (1 − confidence)/2, from the exact null distribution of W⁺.
    """
    counts = [1]  # how many sign patterns of the ranks so far give each value of W⁺
    for rank in range(1, n + 1):
        counts = [a + b for a, b in zip(counts + [0] * rank, [0] * rank + counts, strict=True)]
    return _cut(counts, confidence)


def _cut(counts: Sequence[int], confidence: float) -> int:
    """Return how many values of a statistic, from the least, are together no likelier than half of what is left."""
    allowed = (1 - confidence) / 2 * sum(counts)
    return sum(below <= allowed for below in itertools.accumulate(counts))


def walsh_averages(values: Sequence[float]) -> list[float]:
    """Return the sorted means of all pairs, each value paired with itself too."""
    return sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])


def hodges_lehmann(values: Sequence[float]) -> Estimate:
    """Return the median of the Walsh averages and the exact interval around it."""
    return _between(walsh_averages(values), signed_rank_cut(len(values)))


def _between(ordered: Sequence[float], cut: int) -> Estimate:
    """Return the median of ordered values, and the values so far from either end; no interval where that is 0."""
    low, high = (ordered[cut - 1], ordered[-cut]) if cut else (math.nan, math.nan)
    return Estimate(statistics.median(ordered), low, high)


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
    return _cut(counts, confidence)


def shift(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Return how far ``after`` lies above ``before``, two samples of which no two values are paired.

    The median of all differences, with the interval that inverts the test of Mann and Whitney (Hollander,
    Wolfe & Chicken 2013, sections 4.2 and 4.3). It takes the samples to differ in location alone.
    """
    return _between(sorted(b - a for a in before for b in after), rank_sum_cut(len(before), len(after)))


def typical(seconds: Sequence[float]) -> Estimate:
    """Return the location of the rounds' times, in seconds; taken on logarithms, as ratios are."""
    return _exp(hodges_lehmann([math.log(s) for s in seconds]))


def speed_ratio(baseline: Sequence[float], target: Sequence[float]) -> Estimate:
    """Return baseline time ÷ target time, round by round: more than 1 is faster than the baseline."""
    return _exp(hodges_lehmann([math.log(b / t) for b, t in zip(baseline, target, strict=True)]))


def unpaired_ratio(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Return after ÷ before for positive values of two runs, whose rounds are independent."""
    return _exp(shift([math.log(value) for value in before], [math.log(value) for value in after]))


def level(visits: Visits) -> float:
    """Return the typical seconds of one round's visits."""
    return math.exp(trimmed_mean([math.log(seconds) for seconds in visits.values()]))


def undisturbed(visits: Visits) -> float:
    """Return the undisturbed seconds of one round's visits: the tenth percentile."""
    ordered = sorted(visits.values())
    return ordered[len(ordered) // 10]


def trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean without the highest and the lowest twentieth, at least one each of three values or more.

    It is a mean, because a program that is sometimes slow by itself costs its user that time. It is trimmed, because a
    stall of the machine does not belong to the program.
    """
    cut = max(1, int(TRIM * len(values))) if len(values) > 2 else 0
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def pass_logs(baseline: Visits, target: Visits) -> list[float]:
    """Return the logarithm of baseline time ÷ target time for every pass in which both were visited.

    The visits of one pass are neighbours in time. So a slowdown of the machine for some tenths of a second cancels out;
    in the ratio of two times of a whole round it would not.
    """
    return [math.log(baseline[number] / target[number]) for number in sorted(baseline.keys() & target.keys())]


def round_logs(baseline: Sequence[Rounds], target: Sequence[Rounds]) -> dict[int, float]:
    """Return the logarithm of baseline time ÷ target time of every round in which both were visited in a common pass.

    Both may have copies, each in a process of its own. Then it is the mean over all pairs of copies, so a slow process
    changes it only half as much: docs/decisions/0006.
    """
    found: dict[int, list[float]] = {}
    for ours in baseline:
        for theirs in target:
            for number in ours.keys() & theirs.keys():
                if logs := pass_logs(ours[number], theirs[number]):
                    found.setdefault(number, []).append(trimmed_mean(logs))
    return {number: statistics.fmean(found[number]) for number in sorted(found)}


def speed_of(baseline: Sequence[Rounds], target: Sequence[Rounds]) -> Estimate | None:
    """Return baseline time ÷ target time over the rounds in which both were visited; None where there is none."""
    logs = round_logs(baseline, target)
    return _exp(hodges_lehmann([*logs.values()])) if logs else None


def verdict_of(baseline: Sequence[Rounds], target: Sequence[Rounds], control: Estimate | None) -> Verdict | None:
    """Return what may be said of a target's speed; None where no round has visits of both in a common pass."""
    logs = round_logs(baseline, target)
    return judge(_exp(hodges_lehmann([*logs.values()])), len(logs), control) if logs else None


class Components(NamedTuple):
    """Variances of a log-ratio: of one pass ``within`` a round, and of whole rounds ``between`` rounds."""

    within: float
    between: float


def components(rounds: Sequence[Sequence[float]]) -> Components:
    """Return the variance components of log-ratios by round, two rounds or more (Kalibera & Jones 2013, section 6).

    The component between rounds is 0 if the rounds vary no more than expected from their passes.
    """
    within = statistics.fmean(statistics.variance(logs) if len(logs) > 1 else 0.0 for logs in rounds)
    expected = statistics.fmean(within / len(logs) for logs in rounds)
    return Components(within, max(0.0, statistics.variance(map(statistics.fmean, rounds)) - expected))


def _exp(estimate: Estimate) -> Estimate:
    return Estimate(*map(math.exp, estimate))


def half_width(ratio: Estimate) -> float:
    """Return half of the interval's relative width; infinite if there is no interval."""
    return (math.log(ratio.high) - math.log(ratio.low)) / 2 if ratio.has_interval else math.inf


def expected_width(rounds: int) -> float:
    """Return the mean half-width of an interval of this many rounds, in standard deviations of a round.

    Infinite if there are too few rounds for an interval.
    """
    if rounds < MIN_ROUNDS:
        return math.inf
    last = len(WIDTHS) + MIN_ROUNDS - 1
    return WIDTHS[min(rounds, last) - MIN_ROUNDS] * math.sqrt(last / max(rounds, last))


def judge(ratio: Estimate, rounds: int, control: Estimate | None, margin: float = MARGIN) -> Verdict:
    """Return the verdict on ``ratio``, given the number of its rounds and the control of the same run.

    If the control's interval does not contain 1, ``ratio`` may have the same error. Then a difference must be larger by
    that error, and no ratio is called the same.
    """
    outcome: Outcome = "undecided"
    doubt = 0.0 if control is None or contains_one(control) else abs(math.log(control.value))
    smallest = math.nan if rounds < MIN_ROUNDS else detectable(_scatter(ratio, control), doubt, margin)
    if rounds < MIN_ROUNDS:
        pass
    elif control is not None and control_failed(control, margin):
        outcome = "control failed"
    elif _leaves(ratio, smallest):
        outcome = "faster" if ratio.value > 1 else "slower"
    elif ratio.low > 1 / (1 + BAND) and ratio.high < 1 + BAND and not doubt:
        outcome = "same"
    return Verdict(outcome, ratio, smallest, control)


def _scatter(ratio: Estimate, control: Estimate | None) -> float:
    """Return the half-width of ``ratio`` or of the control, whichever is wider: both measure the same noise."""
    return max(half_width(one) for one in (ratio, control or ratio) if one is ratio or one.has_interval)


def detectable(scatter: float, doubt: float = 0.0, margin: float = MARGIN) -> float:
    """Return the smallest relative difference that is called faster or slower, if intervals are ± ``scatter`` wide.

    ``doubt`` is the error of the control, as a logarithm.
    """
    return math.expm1(margin * scatter + doubt + math.log1p(BAND))


def control_failed(control: Estimate, margin: float = MARGIN) -> bool:
    """Return whether the baseline and its copy differ so clearly that no verdict of this operation can be trusted.

    They must differ as clearly as for a verdict, because a false alarm removes all verdicts of an operation.
    """
    return control.has_interval and _leaves(control, detectable(half_width(control), margin=margin))


def _leaves(ratio: Estimate, smallest: float) -> bool:
    """Return whether a ratio and its whole interval lie beyond the band, the ratio by at least ``smallest``."""
    return beyond_band(ratio) and abs(math.log(ratio.value)) > math.log1p(smallest)


def contains_one(ratio: Estimate) -> bool:
    """Return whether the interval contains 1; also true if there is no interval."""
    return not ratio.has_interval or ratio.low <= 1 <= ratio.high


def beyond_band(ratio: Estimate) -> bool:
    """Return whether the whole interval lies beyond the band."""
    return ratio.has_interval and (ratio.low > 1 + BAND or ratio.high < 1 / (1 + BAND))
