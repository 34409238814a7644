"""Which target finishes a given number of training iterations first, and how sure that is.

A total is start + iterations × seconds per iteration. Iterations are timed in every round, so totals are
compared round by round, as ratios are. A start (import, preparation and first run, the compile cache empty)
is measured once, so that the rounds say nothing of its scatter: ``START_DOUBT`` stands for that.
"""

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from ..errors import UsageError
from ..operations import ITERATION
from ..results.run import Run
from ..results.statistics import Estimate, Rounds, Verdict, judge, level, paired, speed_of, typical, verdict_of
from ..results.table import CONTROL, control_of
from .start import start_of

# A start may be this factor longer or shorter than what was seen of it. In one run on xeon-2c the import of JAX
# took 1.44 s for `jax` and 0.67 s for `jax.scan`, which is the very same import: a factor of 1.46 from their middle.
START_DOUBT = 1.5
UNKNOWN = Estimate(math.nan, math.nan, math.nan)  # of two that share no round
NEEDED = (*CONTROL, *"target label status reason median_s import_s first_call_s first_call_warm_s denormals".split())
COUNTS = [round(10 ** (power / 2)) for power in range(15)]  # of iterations: 1 to ten million, two for each digit


class Candidate(NamedTuple):
    """One verified target: seconds to start with an empty and with a filled compile cache, and its rounds.

    ``copies`` are the visits of each round, of the baseline those to both its processes. A start does the work of the
    first call too, which is not taken off the iterations. ``denormals``: kept or flushed.
    """

    target: str
    start_s: float
    warm_start_s: float
    copies: Sequence[Rounds]
    denormals: str = ""

    @property
    def iteration(self) -> Estimate:
        """Seconds per iteration."""
        return typical([level([*visits.values()]) for visits in self.copies[0].values()])

    def total(self, iterations: int) -> Estimate:
        """Return the seconds until ``iterations`` are done, counted from the start of the process."""
        value, low, high = (iterations * seconds for seconds in self.iteration)
        return Estimate(self.start_s + value, self.start_s / START_DOUBT + low, self.start_s * START_DOUBT + high)

    def totals(self, iterations: int, doubt: float = 1.0) -> list[Rounds]:
        """Return that of every visit, with a start ``doubt`` times as long as it was seen."""
        start = self.start_s * doubt
        return [
            {i: {n: start + iterations * s for n, s in visits.items()} for i, visits in copy.items()}
            for copy in self.copies
        ]


def ratio(a: Candidate, b: Candidate, iterations: int) -> Estimate:
    """Return the total of ``a`` ÷ that of ``b``; the interval is the widest that ``START_DOUBT`` allows."""
    middle, low, high = (
        speed_of(a.totals(iterations, doubt), b.totals(iterations, 1 / doubt)) or UNKNOWN
        for doubt in (1.0, 1 / START_DOUBT, START_DOUBT)
    )
    return Estimate(middle.value, low.low, high.high)


class Standing(NamedTuple):
    """How one target stands: its total, that total ÷ the first one's, and what may be said of the two."""

    candidate: Candidate
    total: Estimate
    against: Estimate
    verdict: Verdict | None  # of its speed against the first's, as in every table; None for the first itself
    depends_on_start: bool = False  # whether it would surely take longer, were the starts as they were seen

    @property
    def target(self) -> str:
        """Its label."""
        return self.candidate.target


class Recommendation(NamedTuple):
    """Every target by its total, the quickest first.

    ``rivals`` are those that cannot be told from the first; while there are any, nothing is recommended.
    """

    iterations: int
    standings: tuple[Standing, ...]
    control: Estimate | None

    @property
    def first(self) -> Standing:
        """The quickest, as far as one value says."""
        return self.standings[0]

    @property
    def rivals(self) -> tuple[Standing, ...]:
        """Those that cannot be told from the first."""
        return tuple(one for one in self.standings[1:] if one.verdict is None or one.verdict.outcome != "slower")

    @property
    def rounds(self) -> int:
        """In how many rounds the first was measured."""
        return len(self.first.candidate.copies[0])


def recommend(
    candidates: Sequence[Candidate], iterations: int, control: Estimate | None = None, warm: bool = False
) -> Recommendation:
    """Rank at least one candidate for ``iterations`` iterations; ``warm`` counts starts with a filled cache.

    ``control`` is the baseline's speed against its second copy: where it failed, no target is behind another.
    """
    if warm:
        candidates = [candidate._replace(start_s=candidate.warm_start_s) for candidate in candidates]
    totals = sorted(((one, one.total(iterations)) for one in candidates), key=lambda found: found[1].value)
    first, total = totals[0]
    standings = [Standing(first, total, Estimate(1.0, 1.0, 1.0), None)]
    for other, total in totals[1:]:
        against, seen = ratio(other, first, iterations), None
        said = _said(first, other, against, control)
        if said.outcome != "slower":
            seen = verdict_of(first.totals(iterations), other.totals(iterations), control)
        depends = seen is not None and seen.outcome == "slower"
        standings.append(Standing(other, total, against, said, depends))
    return Recommendation(iterations, tuple(standings), control)


def _said(first: Candidate, other: Candidate, against: Estimate, control: Estimate | None) -> Verdict:
    """Return what may be said of the speed of the other, which is 1 ÷ ``against``."""
    speed = Estimate(1 / against.value, 1 / against.high, 1 / against.low)
    return judge(speed, len(paired(first.copies, other.copies)), control)


def outlook(candidates: Sequence[Candidate], control: Estimate | None) -> list[tuple[int, str, list[str]]]:
    """Return which target is first from how many iterations on, and which cannot be told from it, up to ten million.

    The answers are those of ``recommend``, to the iteration. What two neighbours of ``COUNTS`` agree in is taken to
    hold between them.
    """
    times = {one.target: (one.start_s, one.iteration.value) for one in candidates}
    of = {one.target: one for one in candidates}

    def first(iterations: int) -> str:
        return min(times, key=lambda name: times[name][0] + iterations * times[name][1])

    def behind(leader: str, other: str, iterations: int) -> bool:
        against = ratio(of[other], of[leader], iterations)
        return _said(of[leader], of[other], against, control).outcome == "slower"

    found = []
    for (begin, leader), (end, _) in pairwise([*_changes(first, COUNTS), (COUNTS[-1] + 1, "")]):
        counts = sorted({begin, *(n for n in COUNTS if begin < n < end), end - 1})
        others = {name: _changes(partial(behind, leader, name), counts) for name in of if name != leader}
        for at in sorted({begin, *(n for changes in others.values() for n, _ in changes)}):
            slower = {name: [answer for n, answer in changes if n <= at][-1] for name, changes in others.items()}
            found.append((at, leader, [name for name in slower if not slower[name]]))
    return found


def _changes(answer: Callable[[int], Any], counts: Sequence[int]) -> list[tuple[int, Any]]:
    """Return the answer at the first of ``counts``, and the first count of each answer that differs from the last."""
    answer = cache(answer)
    found = [(counts[0], answer(counts[0]))]
    for before, last in pairwise(counts):
        while found[-1][1] != answer(last):
            before += 1 + bisect(range(before + 1, last), False, key=lambda count: answer(count) != found[-1][1])
            found.append((before, answer(before)))
    return found


def candidates(run: Run, table: pd.DataFrame) -> tuple[list[Candidate], dict[str, str], Estimate | None]:
    """Return the verified targets of a run, why each other one is left out, and the control.

    ``table`` has the run's rows of ``load_results``. Raises ``UsageError`` for a run without ``gan_iteration``.
    """
    header = run.header
    if ITERATION not in header.operations:
        raise UsageError(f"run {header.run_id} did not measure {ITERATION}, but {', '.join(header.operations)}")
    found: list[Candidate] = []
    left_out: dict[str, str] = {}
    control = None
    rows = table.loc[table["operation"] == ITERATION, [name for name in NEEDED if name in table]]
    for row in rows.to_dict("records"):
        target = str(row.get("label", row["target"]))
        if not math.isnan(row["control_ratio"]):
            control = control_of(row)
        start, warm = (start_of(row, name) for name in ("first_call_s", "first_call_warm_s"))
        if row["status"] != "ok":
            left_out[target] = f"{row['status']}: {row['reason']}"
        elif math.isnan(start) or math.isnan(row["median_s"]):
            left_out[target] = "its start was not measured"
        else:
            found.append(Candidate(target, start, warm, run.copies(ITERATION, target), str(row["denormals"])))
    return found, left_out, control
