"""What is remembered of a run while it goes on, and of what one worker has gathered in a round."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..results.records import Record, Verification
from ..results.statistics import Visits
from . import protocol
from .engine import LATENCIES, LEAD_IN_S
from .plan import Case

AGREEING = 2.0  # a stall of the machine must not pass for a clock that lies
SWITCH_S = 0.05  # at most, in the quickest visit, for what is not timed


class Ledger:
    """What the rounds of a run remember of one another."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.write = write
        self.failed: set[Case] = set()  # left out of later rounds
        self.numbers: dict[tuple[str, str], int] = {}  # calls of a visit, fixed once calibrated
        self.visits: dict[Case, dict[int, Visits]] = {}  # by round
        self.visit_s: dict[Case, float] = {}  # what a visit takes, with all that is not timed
        self.start = time.monotonic()

    def elapsed(self) -> float:
        """Return seconds since the run began, without the time in which it was interrupted."""
        return time.monotonic() - self.start


@dataclass
class Timings:
    """What one worker has gathered for one operation: by pass, the visit that was made and its place in the pass."""

    prepared: protocol.Prepared
    shown: list[tuple[int, str]]  # after how many iterations, and in which file; not judged yet
    verification: Verification | None = None
    warmed: protocol.Warmed | None = None
    visits: dict[int, protocol.Timed] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    spent_s: list[float] = field(default_factory=list)  # of each visit, with all that is not timed
    left: tuple[int, list[str], float] | None = None  # by the visit that is examined: its iterations, the files of its
    # outputs, and the seconds of the first look at them

    @property
    def seconds(self) -> Visits:
        """Seconds per iteration of each visit, by pass."""
        return {number: timed.seconds for number, timed in self.visits.items()}

    def disagreement(self) -> str:
        """Return how our clock contradicts the worker's, or ''."""
        warmed = self.warmed
        if warmed is None or not self.visits:
            return ""
        call_s = self.prepared.iterations * statistics.median(self.seconds.values())
        timed_s = warmed.number * call_s
        # Beside what is timed there is the lead-in, three calls where these are long, and on a device some for latency.
        untimed = 3 + LATENCIES * any(timed.latency_s is not None for timed in self.visits.values())
        displace_s = warmed.number * warmed.displace_s
        most_s = AGREEING * (timed_s + displace_s + LEAD_IN_S + untimed * call_s) + SWITCH_S
        if min(self.spent_s) <= most_s and max(self.spent_s) >= timed_s / AGREEING:
            return ""
        spent_s = statistics.median(self.spent_s)
        return f"the worker says that a visit took {timed_s:.3g} s, but by our clock it took {spent_s:.3g} s"
