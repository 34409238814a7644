"""From rounds to a verdict: pure functions on plain numbers.

Rounds are paired: every target is measured in each, beside the others. The log-ratios of the rounds give a
Hodges–Lehmann estimate (Hollander, Wolfe & Chicken 2013, section 3.2) and Student's interval around it. A round is a
mean of many passes, so it is near to normal. A handful of rounds say little of how far rounds lie apart, but their
passes say how far they should. Both are pooled, as in moderated t-tests (Smyth 2004, "Linear models and empirical Bayes
methods for assessing differential expression in microarray experiments", section 4): docs/decisions/0006.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

CONFIDENCE = 0.95
TRIM = 0.05  # of the visits of a round, at either end: docs/decisions/0006
Visits = Mapping[int, float]  # seconds per iteration of each visit of a round, by pass
Rounds = Mapping[int, Visits]  # by round, the visits to one copy of a case
BAND = 0.02  # two targets within 2 % are the same for every practical purpose
MIN_ROUNDS = 5  # processes of each target that must have been seen before anything is said
LOSS = math.sqrt(math.pi / 3)  # how much more a Hodges–Lehmann estimate of normal numbers scatters than their mean
WEIGHT = 6  # rounds that the passes' word on their scatter counts for, while the rounds do not contradict it
# How far a ratio must leave the band to be called faster or slower, in half-widths of the wider of its own interval
# and the control's. An interval of 95 % alone is wrong too often for a table of twenty rows: docs/decisions/0006.
MARGIN = 1.2
NORMAL = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # half of a 95 % interval, in standard errors
SERIES = (  # of Fisher and Cornish: how much more these are by Student's t
    (NORMAL**3 + NORMAL) / 4,
    (5 * NORMAL**5 + 16 * NORMAL**3 + 3 * NORMAL) / 96,
    (3 * NORMAL**7 + 19 * NORMAL**5 + 17 * NORMAL**3 - 15 * NORMAL) / 384,
    (79 * NORMAL**9 + 776 * NORMAL**7 + 1482 * NORMAL**5 - 1920 * NORMAL**3 - 945 * NORMAL) / 92160,
)


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

    def named(self, name: str) -> dict[str, Any]:
        """Return the columns ``name``, ``name_low`` and ``name_high``."""
        return dict(zip((name, f"{name}_low", f"{name}_high"), self, strict=True))


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

    def named(self, name: str) -> dict[str, Any]:
        """Return the columns of the ratio by this ``name``, and ``detectable`` and ``verdict``."""
        return self.ratio.named(name) | {"detectable": self.detectable, "verdict": self.outcome}


def walsh_median(values: Sequence[float]) -> float:
    """Return the median of the means of all pairs, each value paired with itself too."""
    return statistics.median([(a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2)])


def hodges_lehmann(values: Sequence[float], error: float = 0.0) -> Estimate:
    """Return the median of the means of all pairs of values, and its 95 % interval; none of fewer than ``MIN_ROUNDS``.

    ``error`` is the variance of a value that is to be expected from what it is a mean of; 0 if that is not known.
    """
    middle, rounds = walsh_median(values), len(values)
    if rounds < MIN_ROUNDS:
        return Estimate(middle, math.nan, math.nan)
    seen = variance(values)
    weight = WEIGHT * min(1.0, error / seen) ** 2 if seen else 0.0  # little where the rounds lie further apart
    freedom = rounds - 1 + weight
    half = LOSS * student(freedom) * math.sqrt((weight * error + (rounds - 1) * seen) / freedom / rounds)
    return Estimate(middle, middle - half, middle + half)


def student(freedom: float) -> float:
    """Return how many standard errors half of a 95 % interval has, by Student's t (Fisher and Cornish 1960).

    Their series is right to 0.1 % from four degrees of freedom on; below, ``freedom`` is a whole number.
    """
    if freedom < 4:
        return (math.nan, 12.7062, 4.3027, 3.1824)[int(freedom)]
    first, second, third, fourth = SERIES
    return NORMAL + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def typical(seconds: Sequence[float]) -> Estimate:
    """Return the location of the rounds' times, in seconds; taken on logarithms, as ratios are."""
    return exp(hodges_lehmann([math.log(s) for s in seconds]))


def middle(numbers: Sequence[float]) -> float:
    """Return the same location without its interval; also of ratios."""
    return math.exp(walsh_median([math.log(one) for one in numbers]))


def speed_ratio(baseline: Sequence[float], target: Sequence[float]) -> Estimate:
    """Return baseline time ÷ target time, round by round: more than 1 is faster than the baseline."""
    return typical([b / t for b, t in zip(baseline, target, strict=True)])


def level(seconds: Sequence[float]) -> float:
    """Return the typical seconds of one round's visits, given those of each."""
    return math.exp(trimmed_mean([*map(math.log, seconds)]))


def undisturbed(visits: Visits) -> float:
    """Return the undisturbed seconds of one round's visits: the tenth percentile."""
    ordered = sorted(visits.values())
    return ordered[len(ordered) // 10]


def trimmed_mean(values: Sequence[float]) -> float:
    """Return the mean without the highest and the lowest twentieth, at least one each of three values or more.

    It is a mean, because a program that is sometimes slow by itself costs its user that time. It is trimmed, because a
    stall of the machine does not belong to the program.
    """
    kept, _ = _trimmed(values)
    return math.fsum(kept) / len(kept)


def _trimmed(values: Sequence[float]) -> tuple[list[float], int]:
    """Return what is left of the values, in order, and how many are cut off at either end."""
    cut = max(1, int(TRIM * len(values))) if len(values) > 2 else 0
    return sorted(values)[cut : len(values) - cut], cut


def variance(values: Sequence[float]) -> float:
    """Return what ``statistics.variance`` returns, to the last bit, in a tenth of its time.

    The sums are exact, as there, but of whole numbers: a float is one, divided by a power of two.
    """
    ratios = [value.as_integer_ratio() for value in values]
    scale, count = max([bottom for _, bottom in ratios]), len(ratios)
    whole = [top * (scale // bottom) for top, bottom in ratios]
    return (count * sum([one * one for one in whole]) - sum(whole) ** 2) / (count * (count - 1) * scale**2)


def trimmed_error(values: Sequence[float]) -> float:
    """Return the variance of the trimmed mean of values, as these scatter (Tukey & McLaughlin 1963); 0 of fewer than 3.

    What was trimmed off counts as the value next to it, and the sum of squares for what is left.
    """
    if len(values) < 3:
        return 0.0
    kept, cut = _trimmed(values)
    drawn_in = [kept[0]] * cut + kept + [kept[-1]] * cut
    return variance(drawn_in) * len(values) / len(kept) ** 2


def pass_logs(baseline: Visits, target: Visits) -> dict[int, float]:
    """Return the logarithm of baseline time ÷ target time for every pass in which both were visited.

    The visits of one pass are neighbours in time. So a slowdown of the machine for some tenths of a second cancels out;
    in the ratio of two times of a whole round it would not.
    """
    return {number: math.log(ours / target[number]) for number, ours in baseline.items() if number in target}


def paired(baseline: Sequence[Rounds], target: Sequence[Rounds]) -> dict[int, list[dict[int, float]]]:
    """Return, by round, the logarithms of its passes for every pair of copies that was visited in a common pass."""
    found: dict[int, list[dict[int, float]]] = {}
    for ours, theirs in itertools.product(baseline, target):
        for number in ours.keys() & theirs.keys():
            if logs := pass_logs(ours[number], theirs[number]):
                found.setdefault(number, []).append(logs)
    return dict(sorted(found.items()))


def round_logs(baseline: Sequence[Rounds], target: Sequence[Rounds]) -> dict[int, float]:
    """Return the logarithm of baseline time ÷ target time of every round in which both were visited in a common pass.

    Both may have copies, each in a process of its own. Then it is the mean over all pairs of copies, so a slow process
    changes it only half as much: docs/decisions/0006.
    """
    return {number: _level(pairs) for number, pairs in paired(baseline, target).items()}


def _level(pairs: Sequence[Mapping[int, float]]) -> float:
    return statistics.fmean([trimmed_mean([*logs.values()]) for logs in pairs])


def _error(pairs: Sequence[Mapping[int, float]]) -> float:
    """Return the variance of a round as its passes scatter, in which copies of one target go up and down together."""
    first, *others = pairs
    shared = first.keys() if not others else set(first).intersection(*others)
    copies = [map(logs.__getitem__, shared) for logs in pairs]
    return trimmed_error([total / len(pairs) for total in map(math.fsum, zip(*copies, strict=True))])


def speed(rounds: Mapping[int, Sequence[Mapping[int, float]]]) -> Estimate:
    """Return baseline time ÷ target time over rounds that were ``paired``."""
    return exp(hodges_lehmann([*map(_level, rounds.values())], statistics.fmean(map(_error, rounds.values()))))


def speed_of(baseline: Sequence[Rounds], target: Sequence[Rounds]) -> Estimate | None:
    """Return baseline time ÷ target time over the rounds in which both were visited; None where there is none."""
    rounds = paired(baseline, target)
    return speed(rounds) if rounds else None


def verdict_of(baseline: Sequence[Rounds], target: Sequence[Rounds], control: Estimate | None) -> Verdict | None:
    """Return what may be said of a target's speed; None where no round has visits of both in a common pass."""
    rounds = paired(baseline, target)
    return judge(speed(rounds), len(rounds), control) if rounds else None


class Components(NamedTuple):
    """Variances of a log-ratio: of one pass ``within`` a round, and of whole rounds ``between`` rounds.

    ``between`` is what was found, so it may be negative by chance.
    """

    within: float
    between: float


def components(rounds: Sequence[Sequence[float]]) -> Components:
    """Return the variance components of log-ratios by round, two rounds or more (Kalibera & Jones 2013, section 6)."""
    within = statistics.fmean(variance(logs) if len(logs) > 1 else 0.0 for logs in rounds)
    expected = statistics.fmean(within / len(logs) for logs in rounds)
    return Components(within, variance([*map(statistics.fmean, rounds)]) - expected)


def exp(estimate: Estimate) -> Estimate:
    """Return the ratio of which ``estimate`` is the logarithm."""
    return Estimate(*map(math.exp, estimate))


def half_width(ratio: Estimate) -> float:
    """Return half of the interval's relative width; infinite if there is no interval."""
    return (math.log(ratio.high) - math.log(ratio.low)) / 2 if ratio.has_interval else math.inf


def expected_width(rounds: int) -> float:
    """Return the mean half-width of an interval of this many rounds, in standard deviations of a round.

    Infinite if there are too few rounds for an interval. It is that of two rounds more, for what the passes say: right
    to 5 % where rounds differ little besides (tests/test_passes.py).
    """
    return LOSS * student(rounds + 1) / math.sqrt(rounds) if rounds >= MIN_ROUNDS else math.inf


def judge(ratio: Estimate, rounds: int, control: Estimate | None, margin: float = MARGIN) -> Verdict:
    """Return the verdict on ``ratio``, given the number of its rounds and the control of the same run.

    If the control's interval does not contain 1, ``ratio`` may have the same error. Then a difference must be larger by
    that error, and no ratio is called the same.
    """
    if rounds < MIN_ROUNDS:
        return Verdict("undecided", ratio, math.nan, control)
    widths, doubt = [half_width(ratio)], 0.0
    if control is not None and control.has_interval:
        widths.append(half_width(control))  # both measure the same noise
        if not control.low <= 1 <= control.high:
            doubt = abs(math.log(control.value))
    smallest = detectable(max(widths), doubt, margin)
    outcome: Outcome = "undecided"
    if control is not None and control_failed(control, margin):
        outcome = "control failed"
    elif _leaves(ratio, smallest):
        outcome = "faster" if ratio.value > 1 else "slower"
    elif ratio.low > 1 / (1 + BAND) and ratio.high < 1 + BAND and not doubt:
        outcome = "same"
    return Verdict(outcome, ratio, smallest, control)


def detectable(scatter: float, doubt: float = 0.0, margin: float = MARGIN) -> float:
    """Return the smallest relative difference that is called faster or slower, if intervals are ± ``scatter`` wide.

    ``doubt`` is the error of the control, as a logarithm.
    """
    return math.expm1(margin * scatter + doubt + math.log1p(BAND))


def detectable_after(smallest: float, before: int, after: int) -> float:
    """Return what ``after`` rounds should tell apart; ``smallest`` is the relative difference that ``before`` told."""
    scatter = max(0.0, math.log1p(smallest) - math.log1p(BAND)) / MARGIN
    return detectable(scatter * expected_width(after) / expected_width(before))


def control_failed(control: Estimate, margin: float = MARGIN) -> bool:
    """Return whether the baseline and its copy differ so clearly that no verdict of this operation can be trusted.

    They must differ as clearly as for a verdict, because a false alarm removes all verdicts of an operation.
    """
    return control.has_interval and _leaves(control, detectable(half_width(control), margin=margin))


def _leaves(ratio: Estimate, smallest: float) -> bool:
    """Return whether a ratio and its whole interval lie beyond the band, the ratio by at least ``smallest``."""
    return beyond_band(ratio) and abs(math.log(ratio.value)) > math.log1p(smallest)


def beyond_band(ratio: Estimate) -> bool:
    """Return whether the whole interval lies beyond the band."""
    return ratio.has_interval and (ratio.low > 1 + BAND or ratio.high < 1 / (1 + BAND))
