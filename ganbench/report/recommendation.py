"""Which target finishes a given number of training iterations first, and how sure that is.

A total is start + iterations × seconds per iteration. Iterations are timed in every round, so totals are
compared round by round, as ratios are. A start (import, preparation and first run, the compile cache empty)
is measured once, so that the rounds say nothing of its scatter: ``START_DOUBT`` stands for that.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UsageError
from ..results.run import Run
from ..results.statistics import (
    Estimate,
    Rounds,
    Verdict,
    control_failed,
    judge,
    level,
    round_logs,
    speed_of,
    typical,
)
from ..results.table import run_table
from .start import break_even

OPERATION = "gan_iteration"
# A start may be this factor longer or shorter than what was seen of it. In one run on xeon-2c the import of JAX
# took 1.44 s for `jax` and 0.67 s for `jax.scan`, which is the very same import: a factor of 1.46 from their middle.
START_DOUBT = 1.5
UNKNOWN = Estimate(math.nan, math.nan, math.nan)  # of two that share no round


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
        return typical([level(visits) for visits in self.copies[0].values()])

    def total(self, iterations: int) -> Estimate:
        """Return the seconds until ``iterations`` are done, counted from the start of the process."""
        value, low, high = (iterations * seconds for seconds in self.iteration)
        return Estimate(self.start_s + value, self.start_s / START_DOUBT + low, self.start_s * START_DOUBT + high)


def ratio(a: Candidate, b: Candidate, iterations: int) -> Estimate:
    """Return the total of ``a`` ÷ that of ``b``; the interval is the widest that ``START_DOUBT`` allows."""
    middle = _paired(a, b, a.start_s, b.start_s, iterations)
    low = _paired(a, b, a.start_s / START_DOUBT, b.start_s * START_DOUBT, iterations).low
    high = _paired(a, b, a.start_s * START_DOUBT, b.start_s / START_DOUBT, iterations).high
    return Estimate(middle.value, low, high)


def _paired(a: Candidate, b: Candidate, start_a: float, start_b: float, iterations: int) -> Estimate:
    def totals(candidate: Candidate, start: float) -> list[Rounds]:
        return [
            {i: {n: start + iterations * s for n, s in visits.items()} for i, visits in copy.items()}
            for copy in candidate.copies
        ]

    return speed_of(totals(a, start_a), totals(b, start_b)) or UNKNOWN


def _shared(a: Candidate, b: Candidate) -> int:
    return len(round_logs(a.copies, b.copies))


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

    @property
    def behind(self) -> bool:
        """Whether it surely takes longer than the first."""
        return self.verdict is not None and self.verdict.outcome == "slower"


class Turn(NamedTuple):
    """The other target that is quicker on the far side of about ``at`` iterations."""

    target: str
    at: float


class Recommendation(NamedTuple):
    """Every target by its total, the quickest first, and where another would be it.

    ``rivals`` are those that cannot be told from the first; while there are any, nothing is recommended.
    """

    iterations: int
    standings: tuple[Standing, ...]
    control_failed: bool
    fewer: Turn | None
    more: Turn | None

    @property
    def first(self) -> Standing:
        """The quickest, as far as one value says."""
        return self.standings[0]

    @property
    def rivals(self) -> tuple[Standing, ...]:
        """Those that cannot be told from the first."""
        return tuple(standing for standing in self.standings[1:] if not standing.behind)

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
    ranked = sorted(candidates, key=lambda candidate: candidate.total(iterations).value)
    first, *others = ranked
    standings = [Standing(first, first.total(iterations), Estimate(1.0, 1.0, 1.0), None)]
    for other in others:
        against, rounds = ratio(other, first, iterations), _shared(first, other)
        said = judge(Estimate(1 / against.value, 1 / against.high, 1 / against.low), rounds, control)
        seen = judge(_paired(first, other, first.start_s, other.start_s, iterations), rounds, control).outcome
        depends = seen == "slower" != said.outcome
        standings.append(Standing(other, other.total(iterations), against, said, depends))
    failed = control is not None and control_failed(control)
    return Recommendation(iterations, tuple(standings), failed, *_turns(first, others, control))


def _turns(first: Candidate, others: Sequence[Candidate], control: Estimate | None) -> tuple[Turn | None, Turn | None]:
    """Return who is quicker for fewer iterations and who for more, where iterations surely differ."""
    fewer, more = [], []
    for other in others:
        speed = judge(_paired(first, other, 0.0, 0.0, 1), _shared(first, other), control).outcome
        if speed == "slower":
            fewer.append(Turn(other.target, _break_even(first, other)))
        elif speed == "faster":
            more.append(Turn(other.target, _break_even(other, first)))
    # The last to be caught up with, and the first to catch up.
    before = max((turn for turn in fewer if 0 < turn.at < math.inf), key=lambda turn: turn.at, default=None)
    after = min((turn for turn in more if 0 < turn.at < math.inf), key=lambda turn: turn.at, default=None)
    return before, after


def _break_even(later: Candidate, sooner: Candidate) -> float:
    return break_even(later.start_s, later.iteration.value, sooner.start_s, sooner.iteration.value)


def candidates(run: Run) -> tuple[list[Candidate], dict[str, str], Estimate | None]:
    """Return the verified targets of a run, why each other one is left out, and the control.

    Raises ``UsageError`` for a run that did not measure ``gan_iteration``.
    """
    header, table = run.header, run_table(run)
    if OPERATION not in header.operations:
        raise UsageError(f"run {header.run_id} did not measure {OPERATION}, but {', '.join(header.operations)}")
    found: list[Candidate] = []
    left_out: dict[str, str] = {}
    control = None
    for row in table[table["operation"] == OPERATION].to_dict("records"):
        target = str(row["target"])
        if not math.isnan(row["control_ratio"]):
            control = Estimate(row["control_ratio"], row["control_low"], row["control_high"])
        start, warm = (row["import_s"] + row[name] for name in ("first_call_s", "first_call_warm_s"))
        if row["status"] != "ok":
            left_out[target] = f"{row['status']}: {row['reason']}"
        elif math.isnan(start) or math.isnan(row["median_s"]):
            left_out[target] = "its start was not measured"
        else:
            found.append(Candidate(target, start, warm, run.copies(OPERATION, target), str(row["denormals"])))
    return found, left_out, control
