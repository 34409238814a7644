"""What the finished rounds of an interrupted run mean for the rounds that follow."""

import time
from collections.abc import Sequence

from ..results.records import Line, Measurement, Resumed
from .ledger import Ledger
from .plan import Case, Plan


def finished_rounds(plan: Plan, records: Sequence[Line]) -> int:
    """Return how many rounds were measured whole: every case that had not failed has a row."""
    rows = measurements(plan, records)
    failed: set[Case] = set()
    for number in range(1, max((row.round for _, row in rows), default=0) + 1):
        found = {case for case, row in rows if row.round == number}
        failed |= {case for case, row in rows if row.round == number and row.status != "ok"}
        if not set(plan.cases) <= found | failed:
            return number - 1
    return max((row.round for _, row in rows), default=0)


def recall(ledger: Ledger, plan: Plan, records: Sequence[Line]) -> int:
    """Fill ``ledger`` with the finished rounds in ``records`` and the time they took; return their number."""
    finished = finished_rounds(plan, records)
    rows = measurements(plan, records)
    ledger.start = time.monotonic() - spent(records)
    for case, row in rows:
        if row.round > finished:
            continue
        if row.status != "ok":
            ledger.failed.add(case)
        elif row.samples:
            ledger.numbers[row.target, row.operation] = row.iterations // row.iterations_per_call
            ledger.visits.setdefault(case, {})[row.round] = dict(zip(row.passes, row.samples, strict=True))
    return finished


def spent(records: Sequence[Line]) -> float:
    """Return the seconds that a run has taken, those of a round that was not finished among them."""
    return max((line.elapsed_s for line in records if isinstance(line, Measurement | Resumed)), default=0.0)


def measurements(plan: Plan, records: Sequence[Line]) -> list[tuple[Case, Measurement]]:
    """Return every measurement with its case."""
    targets = {target.label: target for target in plan.targets}
    return [
        (Case(record.operation, targets[record.target], record.copy), record)
        for record in records
        if isinstance(record, Measurement)
    ]
