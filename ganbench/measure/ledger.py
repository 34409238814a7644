"""The state of a run while it is measured, and what one worker has measured in a round."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ..results.records import CeilingRecord, Record, Verification, digits, summary
from ..results.statistics import Visits
from . import protocol
from .clock import GRAIN_S
from .oracle import Asked, Examine
from .plan import Case


class Ledger:
    """What later rounds of a run must know of earlier ones."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.write = write
        self.failed: set[Case] = set()  # left out of later rounds
        self.numbers: dict[tuple[str, str], int] = {}  # calls of a visit, fixed once calibrated
        self.warmed: dict[Case, protocol.Warmed] = {}  # what later workers of a case need not find out
        self.visits: dict[Case, dict[int, Visits]] = {}  # by round
        self.ceilings: list[CeilingRecord] = []
        self.visit_s: dict[Case, float] = {}  # seconds of a visit, its untimed parts included
        self.start = time.monotonic()

    def has_warmed(self, case: Case, warmed: protocol.Warmed) -> None:
        """Keep what a worker found when it warmed up, except for what holds of that worker alone."""
        self.numbers[case.target.label, case.operation] = warmed.number
        self.warmed[case] = replace(warmed, steady=None, host_peak_bytes=None, device_peak_bytes=None)

    def elapsed(self) -> float:
        """Return seconds since the run began, without the time in which it was interrupted or gave way to others."""
        return time.monotonic() - self.start

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Inside this context the run's time stands still."""
        began = time.monotonic()
        yield
        self.start += time.monotonic() - began


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
    asked: list[Asked[Verification]] = field(default_factory=list)  # of the oracle, after the timing
    below_s: float = 0.0  # of processor time, in all visits, of the processes below the worker

    @property
    def cores(self) -> float | None:
        """Processor time over wall time in the visits; that of processes below the worker counts."""
        if not self.visits:
            return None
        return statistics.fmean(one.cores for one in self.visits.values()) + self.below_s / sum(self.spent_s)

    @property
    def seconds(self) -> Visits:
        """Seconds per iteration of each visit, by pass."""
        return {number: timed.seconds for number, timed in self.visits.items()}

    def share_of(self, first: Visits | None) -> float:
        """Return the time of a visit as a share of that in the first round; 1 where there is none."""
        now = self.seconds.values()
        return statistics.median(now) / statistics.median(first.values()) if first and now else 1.0

    def misfit(self) -> str:
        """Return which reported time does not fit into the time that its visit took, or ''."""
        assert self.warmed is not None
        iterations = self.warmed.number * self.prepared.iterations
        for reported, spent_s in zip(self.seconds.values(), self.spent_s, strict=True):
            if iterations * reported > spent_s + GRAIN_S:
                return (
                    f"the worker reports {iterations * reported:.3g} s for a visit, but ganbench's own clock shows "
                    f"{spent_s:.3g} s, so the reported time cannot be right"
                )
        return ""

    def fields(self) -> dict[str, Any]:
        """Return what a row says of an operation that was verified, and of its times if it was timed."""
        visits, prepared, warmed = list(self.visits.values()), self.prepared, self.warmed
        known = {
            "prepare_s": prepared.prepare_s,
            "first_run_s": prepared.first_run_s,
            "verification": self.verification,
            "order": self.order,
            "passes": list(self.visits),
            "cores": self.cores,
            "samples": [digits(one.seconds) for one in visits],
            "latency_s": [digits(one.latency_s) for one in visits if one.latency_s is not None],
            "device_s": [digits(one.device_s) for one in visits if one.device_s is not None],
            "disturbance": summary([one.disturbance for one in visits]) if visits else None,
        }
        if warmed is None:
            return known
        return known | {
            "iterations": warmed.number * prepared.iterations,
            "iterations_per_call": prepared.iterations,
            "steady": warmed.steady,
            "host_peak_bytes": warmed.host_peak_bytes,
            "device_peak_bytes": warmed.device_peak_bytes,
        }
