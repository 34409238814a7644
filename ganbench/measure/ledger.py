"""The state of a run while it is measured, and what one worker has measured in a round."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..results.records import CeilingRecord, Record, Verification
from ..results.statistics import Visits
from . import protocol
from .engine import LATENCIES, LEAD_IN_S
from .oracle import Examine
from .plan import Case

AGREEING = 2.0  # a stall of the machine must not look like a wrong clock
SWITCH_S = 0.05  # the most that the untimed part of the quickest visit may take


class Ledger:
    """What later rounds of a run must know of earlier ones."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.write = write
        self.failed: set[Case] = set()  # left out of later rounds
        self.numbers: dict[tuple[str, str], int] = {}  # calls of a visit, fixed once calibrated
        self.visits: dict[Case, dict[int, Visits]] = {}  # by round
        self.ceilings: list[CeilingRecord] = []
        self.visit_s: dict[Case, float] = {}  # seconds of a visit, its untimed parts included
        self.start = time.monotonic()

    def elapsed(self) -> float:
        """Return seconds since the run began, without the time in which it was interrupted."""
        return time.monotonic() - self.start


@dataclass
class Timings:
    """What one worker has measured of one operation: by pass, the visit and its place in the pass."""

    prepared: protocol.Prepared
    shown: list[tuple[int, str]]  # the number of iterations and the file of the outputs, not checked yet
    verification: Verification | None = None
    warmed: protocol.Warmed | None = None
    visits: dict[int, protocol.Timed] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    spent_s: list[float] = field(default_factory=list)  # of each visit, its untimed parts included
    left: tuple[Examine, float] | None = None  # what an examined visit left, and the seconds of the first look at it

    @property
    def seconds(self) -> Visits:
        """Seconds per iteration of each visit, by pass."""
        return {number: timed.seconds for number, timed in self.visits.items()}

    def share_of(self, first: Visits | None) -> float:
        """Return the time of a visit as a share of that in the first round; 1 where there is none."""
        now = self.seconds.values()
        return statistics.median(now) / statistics.median(first.values()) if first and now else 1.0

    def disagreement(self) -> str:
        """Return how the parent's clock contradicts the worker's, or ''."""
        warmed = self.warmed
        if warmed is None or not self.visits:
            return ""
        call_s = self.prepared.iterations * statistics.median(self.seconds.values())
        timed_s = warmed.number * call_s
        # Untimed are the lead-in, up to three calls where calls are long, and on a device the calls for the latency.
        untimed = 3 + LATENCIES * any(timed.latency_s is not None for timed in self.visits.values())
        displace_s = warmed.number * warmed.displace_s
        most_s = AGREEING * (timed_s + displace_s + LEAD_IN_S + untimed * call_s) + SWITCH_S
        if min(self.spent_s) <= most_s and max(self.spent_s) >= timed_s / AGREEING:
            return ""
        spent_s = statistics.median(self.spent_s)
        return (
            f"the worker reports {timed_s:.3g} s for a visit, but ganbench's own clock shows {spent_s:.3g} s, "
            "so the reported time cannot be right"
        )
