"""How often each case is visited in a round, in which order, and when a run ends.

More visits average out the noise of a single visit. More rounds average out the differences between processes, which
visits cannot. A run plans as many rounds as make its intervals narrowest in the time that it has, and shares out the
time of a round by what a visit of each case takes and by how much it scatters. When a run ends depends on time and
precision, never on significance.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple, TypeVar

from ..results.statistics import (
    MIN_ROUNDS,
    Components,
    Estimate,
    Rounds,
    components,
    expected_width,
    half_width,
    paired,
    speed_of,
)
from .ledger import Ledger
from .plan import Case, Plan

LEAST, MOST = 6, 64  # visits of a case in a round
OF_FLOOR = 4  # of the floor, which is compared with nothing: it says which share of an iteration its products are
LEAST_LUCK = 0.02**2  # the smallest variance between rounds to be assumed: a few rounds cannot show a smaller one
Reason = Literal["complete", "precision", "budget"]  # why no further round is due
LATER = 0.2  # time to start a later round ÷ that of the first, which compiles: a guess, for the first round only
CHECKS = 0.3  # time of the gate after the visits ÷ time to start a round
ROUNDS_TO_LEARN = 2  # before the variance components of a run say how many visits a case gets
USUAL = Components(within=0.15**2, between=LEAST_LUCK)  # until then
MOST_ROUNDS = 30  # are planned

T = TypeVar("T")


def assumed(noise: Sequence[Components]) -> list[Components]:
    """Return the components to plan with, given those that were found; the usual ones where none were.

    After a few rounds, one case's variance between them is very uncertain. The mean over all cases is less so.
    """
    between = max(fmean(found.between for found in noise), LEAST_LUCK) if noise else LEAST_LUCK
    return [Components(found.within, between) for found in noise] or [USUAL]


def room_of_round(
    done: Sequence[float], left_s: float, start_s: float, pass_s: float, noise: Sequence[Components]
) -> float:
    """Return the seconds that the visits of this round may take: all further rounds are as long as this one.

    The arguments are those of ``rounds_for_width``.
    """
    more = rounds_for_width(done, left_s, start_s, pass_s, noise) - len(done) - 1
    return (left_s - more * start_s) / (more + 1)


def rounds_for_width(
    done: Sequence[float], left_s: float, start_s: float, pass_s: float, noise: Sequence[Components]
) -> int:
    """Return the number of rounds with which intervals are expected to be narrowest, at least ``MIN_ROUNDS``.

    ``done`` has the passes of each finished round. Another one has started; ``left_s`` seconds are left for its visits
    and for the rounds after it, which take ``start_s`` each besides their visits. A pass of all cases takes ``pass_s``.
    """
    first, spent = len(done) + 1, sum(1 / passes for passes in done)

    def width(rounds: int) -> float:
        more = rounds - first
        passes = (left_s - more * start_s) / (more + 1) / pass_s
        if passes < LEAST:
            return math.inf
        share = (spent + (more + 1) / passes) / rounds  # of the noise of a pass, in the mean of a round
        return expected_width(rounds) * fmean(math.sqrt(one.between + one.within * share) for one in noise)

    return min(range(max(first, MIN_ROUNDS), max(first, MOST_ROUNDS) + 1), key=width)


class Share(NamedTuple):
    """The passes of an operation in which a case is visited: the first, and then every ``stride``-th.

    Strides are powers of two. So, of any two cases, the one with more visits is visited in every pass of the other.
    """

    passes: int
    stride: int

    @property
    def visits(self) -> int:
        """The number of visits of the case."""
        return -(-self.passes // self.stride)


def shares(
    weights: Mapping[T, float], costs: Mapping[T, float], group: Callable[[T], object], room: float
) -> dict[T, Share]:
    """Return each case's share of the passes of its group.

    Visits are in proportion to the ``weights``, at least ``LEAST`` and at most ``MOST``; a case that would be in more
    than half of its group's passes is in all of them. All visits together take at most ``room`` seconds, if not all
    cases have the least; one visit takes what ``costs`` says.
    """
    asked = sum(weight * costs[case] for case, weight in weights.items())
    scale = room / asked if asked else 0.0
    while True:
        visits = {case: min(max(scale * weight, LEAST), MOST) for case, weight in weights.items()}
        most: dict[object, float] = {}
        for case, number in visits.items():
            most[group(case)] = max(number, most.get(group(case), 0.0))
        found = {c: Share(int(most[group(c)]), 1 << int(math.log2(most[group(c)] / n))) for c, n in visits.items()}
        if (
            max(visits.values(), default=0) <= LEAST
            or sum(one.visits * costs[case] for case, one in found.items()) <= room
        ):
            return found
        scale *= 0.98


def orders(members: Sequence[T], rng: random.Random) -> Iterator[list[T]]:
    """Yield one order for each pass, without end: over all orders, each place and each predecessor is equally frequent.

    Rows of random Williams squares (Williams 1949): each member stands equally often in each place, and equally often
    directly after each other one, since what ran just before may matter.
    """
    while members:
        mixed = rng.sample(members, len(members))
        rows = williams(len(mixed))
        rng.shuffle(rows)
        yield from ([mixed[i] for i in row] for row in rows)


def turns(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Yield the items in random order, again and again, without end."""
    while True:
        yield from rng.sample(items, len(items))


def williams(n: int) -> list[list[int]]:
    """Return the rows of a Williams square of ``n`` treatments; twice as many where ``n`` is odd."""
    first = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]
    rows = [[(number + turn) % n for number in first] for turn in range(n)]
    return rows + [row[::-1] for row in rows] if n % 2 else rows


class Schedule:
    """The time of one run; ``finished`` of its rounds are already in its ledger."""

    def __init__(self, plan: Plan, ledger: Ledger, finished: int) -> None:
        self._plan, self._ledger = plan, ledger
        self._round = finished
        self._visited_s = self._least_s = 0.0  # what the last round's visits took, and what the fewest would have taken
        self._fixed_s = ledger.elapsed() / finished if finished else 0.0  # what a round takes besides

    def begin(self) -> int:
        """Begin the next round; return its number."""
        self._round += 1
        self._visited_s = self._least_s = 0.0
        return self._round

    def visited(self, seconds: float) -> None:
        """Add the seconds of the visits to one operation."""
        self._visited_s += seconds

    def end(self, seconds: float) -> None:
        """End a round that took ``seconds`` in all."""
        self._fixed_s = (seconds - self._visited_s) * (LATER if self._round == 1 else 1)

    def share(self, of_round: float) -> float:
        """Return the share of the run that is done, as far as one can tell, given that of this round."""
        rounds, budget_s = self._plan.rigor.rounds, self._plan.rigor.budget_s
        return (self._round - 1 + of_round) / rounds if rounds else self._ledger.elapsed() / budget_s

    def why_stop(self) -> Reason | None:
        """Return why no further round is due; None if one is."""
        rigor = self._plan.rigor
        if not self._round:
            return None
        if not self._plan.timed or not set(self._plan.cases) - self._ledger.failed:
            return "complete"
        if rigor.rounds:
            return "complete" if self._round >= rigor.rounds else None
        lacking = max(0, MIN_ROUNDS - self._round)  # fewer rounds decide nothing
        # A round with half as many visits as the last one still makes intervals narrower.
        a_round_s = self._fixed_s + max(self._least_s, 0.0 if lacking else self._visited_s / 2)
        decides = lacking and self._ledger.elapsed() + lacking * a_round_s <= rigor.overrun * rigor.budget_s
        if not decides and self._ledger.elapsed() + a_round_s > rigor.budget_s:
            return "budget"
        widest = max((self._half_width(case) for case in self._compared), default=0.0)
        return "precision" if self._round >= MIN_ROUNDS and widest <= rigor.goal else None

    @property
    def _compared(self) -> list[Case]:
        """Every case that has a ratio to the baseline, in the order that was asked for."""
        cases = [case for case in self._plan.cases if case not in self._ledger.failed]
        return [case for case in cases if case.copy or case.target.label != self._plan.baseline]

    def _baseline(self, case: Case) -> list[Rounds]:
        """Return the baseline's visits so far: of both copies, or, for the control, of the first copy only."""
        baseline = next(target for target in self._plan.targets if target.label == self._plan.baseline)
        copies = (False,) if case.copy else (False, True)
        return [self._ledger.visits.get(Case(case.operation, baseline, copy), {}) for copy in copies]

    def _speed(self, case: Case) -> Estimate | None:
        """Return the speed of a case against the baseline so far; None where there is none."""
        return speed_of(self._baseline(case), [self._ledger.visits.get(case, {})])

    def _half_width(self, case: Case) -> float:
        """Return the half-width of a case's ratio so far; 0 where there is none."""
        found = self._speed(case)
        return half_width(found) if found else 0.0

    def seen(self) -> dict[Case, Estimate]:
        """Return the speed of every target against the baseline so far, in the order that was asked for."""
        return {case: found for case in self._compared if not case.copy and (found := self._speed(case))}

    def shares(self, timed: dict[Case, float], start_s: float) -> dict[Case, Share]:
        """Return how often each case of this round is visited.

        ``timed`` says what a visit of each takes, and ``start_s`` what the round took to start, both in seconds.
        """
        asked = set(self._plan.cases)
        visit_s = {case: seconds for case, seconds in timed.items() if case in asked}
        floors = timed.keys() - asked
        floors_s = OF_FLOOR * sum(timed[case] for case in floors)
        noise = self._noise() if self._round > ROUNDS_TO_LEARN else {}
        pass_s = sum(visit_s.values())
        self._least_s = LEAST * pass_s + floors_s
        if self._plan.rigor.rounds or not visit_s:
            room = self._plan.rigor.case_s * len(visit_s)
        else:
            room = self._room(start_s, floors_s, pass_s, [*noise.values()])
        found = shares(self._weights(visit_s, noise), visit_s, lambda case: case.operation, room)
        return found | dict.fromkeys(floors, Share(OF_FLOOR, 1))

    def _weights(self, visit_s: Mapping[Case, float], noise: Mapping[Case, Components]) -> dict[Case, float]:
        """Return what the number of visits is in proportion to: the noise of a visit ÷ the root of its time.

        So the sum of all variances is least (Cochran 1977, section 5.5). It is 0 where an interval is narrow enough.
        """
        weights = {case: math.sqrt(noise.get(case, USUAL).within / one) for case, one in visit_s.items()}
        for case in noise.keys() & weights.keys():
            if self._half_width(case) <= self._plan.rigor.goal:
                weights[case] = 0.0
        # Both copies of the baseline are visited as often as the target with the most visits.
        for case in weights:
            if case.target.label == self._plan.baseline:
                same = [other for other in weights if other.operation == case.operation and other != case]
                weights[case] = max((weights[other] for other in same), default=weights[case])
        return weights

    def _noise(self) -> dict[Case, Components]:
        """Return the variance components of every case against one process of the baseline, so far."""
        noise = {}
        for case in self._compared:
            rounds = paired(self._baseline(case)[:1], [self._ledger.visits.get(case, {})])
            if len(rounds) > 1:
                noise[case] = components([[*logs.values()] for (logs,) in rounds.values()])
        return noise

    def _room(self, start_s: float, floors_s: float, pass_s: float, noise: Sequence[Components]) -> float:
        """Return the seconds that this round's visits may take, so that the other rounds fit into the budget, too.

        They are those besides the floors', which take ``floors_s`` in each round.
        """
        start_s *= LATER if self._round == 1 else 1
        left_s = self._plan.rigor.budget_s - self._ledger.elapsed() - CHECKS * start_s - floors_s
        later_s = (1 + CHECKS) * start_s + floors_s
        visits = [self._ledger.visits.get(case, {}) for case in self._plan.cases]
        made = ([len(one[i]) for one in visits if i in one] for i in range(1, self._round))
        done = [fmean(passes or [LEAST]) for passes in made]
        return room_of_round(done, left_s, later_s, pass_s, assumed(noise))
