"""How often each case is visited, and when a run ends: this depends on time and precision, never on significance."""

from math import inf
from statistics import fmean
from typing import Literal

from ..operations.products import FLOOR
from ..results.statistics import (
    MIN_ROUNDS,
    Components,
    Estimate,
    Rounds,
    components,
    half_width,
    pass_logs,
    speed_of,
)
from .ledger import Ledger
from .passes import LEAST, Cost, Share, optimal_visits, shares
from .plan import Case, Plan

Reason = Literal["complete", "precision", "budget"]  # why no further round is due
LATER = 0.35  # time to start a later round ÷ that of the first, which imports and compiles
CHECKS = 0.15  # time of the gate after the visits ÷ time to start a round; both are guesses, for the first round only
OVERRUN = 1.05
ROUNDS_TO_LEARN = 2  # before the variance components of a run say how many visits a case gets


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

    @property
    def share(self) -> float:
        """The share of the run that is done, as far as one can tell."""
        rounds, budget_s = self._plan.rigor.rounds, self._plan.rigor.budget_s
        return self._round / rounds if rounds else self._ledger.elapsed() / budget_s

    def why_stop(self) -> Reason | None:
        """Return why no further round is due; None if one is."""
        rigor = self._plan.rigor
        if not self._round:
            return None
        if not self._plan.timed or not set(self._plan.cases) - self._ledger.failed:
            return "complete"
        if rigor.rounds:
            return "complete" if self._round >= rigor.rounds else None
        few = self._round < MIN_ROUNDS  # fewer rounds decide nothing, so the last of them may take a little longer
        visits_s, budget_s = (self._least_s, OVERRUN * rigor.budget_s) if few else (self._visited_s, rigor.budget_s)
        if self._ledger.elapsed() + self._fixed_s + visits_s > budget_s:
            return "budget"
        widest = max((self._half_width(case) for case in self._compared), default=0.0)
        return "precision" if self._round >= MIN_ROUNDS and widest <= rigor.goal else None

    @property
    def _compared(self) -> list[Case]:
        """Every case that has a ratio to the baseline."""
        cases = set(self._plan.cases) - self._ledger.failed
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
        compared = set(self._compared)
        cases = [case for case in self._plan.cases if case in compared and not case.copy]
        return {case: found for case in cases if (found := self._speed(case))}

    def shares(self, timed: dict[Case, float], start_s: float) -> dict[Case, Share]:
        """Return how often each case of this round is visited.

        ``timed`` says what a visit of each takes, and ``start_s`` what the round took to start, both in seconds.
        """
        rigor = self._plan.rigor
        costs = {case: Cost(visit_s, start_s / len(timed)) for case, visit_s in timed.items()}
        # The floor is compared with nothing: it says how large a share of an iteration its products are.
        floor = set() if FLOOR in self._plan.operations else {FLOOR}
        wanted = {case: LEAST if case.operation in floor else rigor.case_s / one for case, one in timed.items()}
        noise = self._noise() if self._round > ROUNDS_TO_LEARN else {}
        if noise:
            # After a few rounds, one case's variance between them is very uncertain; the mean over cases is less so.
            between = fmean(found.between for found in noise.values())
            for case in noise.keys() & wanted.keys():
                done = self._half_width(case) <= rigor.goal
                wanted[case] = LEAST if done else optimal_visits(costs[case], Components(noise[case].within, between))
        # Both copies of the baseline are visited as often as the target with the most visits.
        for case in wanted:
            if case.target.label == self._plan.baseline:
                wanted[case] = max(n for other, n in wanted.items() if other.operation == case.operation)
        self._least_s = LEAST * sum(timed.values())
        return shares(wanted, costs, lambda case: case.operation, self._room(start_s))

    def _noise(self) -> dict[Case, Components]:
        """Return the variance components of every case against one process of the baseline, so far."""
        noise = {}
        for case in self._compared:
            against, visits = self._baseline(case)[0], self._ledger.visits.get(case, {})
            shared = sorted(against.keys() & visits.keys())
            logs = [found for i in shared if (found := pass_logs(against[i], visits[i]))]
            if len(logs) > 1:
                noise[case] = components(logs)
        return noise

    def _room(self, start_s: float) -> float:
        """Return the seconds that this round's visits may take, so that the other rounds fit into the budget, too."""
        rigor, left = self._plan.rigor, MIN_ROUNDS - self._round
        if rigor.rounds or left < 0:
            return inf
        checks_s = start_s * CHECKS
        later_s = LATER * (start_s + checks_s) if self._round == 1 else self._fixed_s
        return (rigor.budget_s - self._ledger.elapsed() - checks_s - left * later_s) / (left + 1)
