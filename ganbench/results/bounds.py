"""The bound of an operation, from the ceilings of a run, and how near a case came to it.

The roofline model of Williams, Waterman & Patterson 2009: an operation takes at least its FLOP at the rate of
the best matrix product, and at least its bytes at the bandwidth of the memory that holds them; the larger
of the two is its bound. Small operations live in a cache, so bandwidth is looked up by size.
"""

import math
import sys
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from .records import Caches, Ceiling, CeilingRecord
from .statistics import Estimate

BEYOND_CACHES = sys.maxsize  # bytes that come from memory
# Of the ceiling, at the slow end of the interval: no honest program comes near, even where the ceiling was measured in
# a slow moment of a shared machine, which may halve it.
IMPOSSIBLE = 3.0
MOST_OTHERS = 0.99  # the most that is granted of the share of other work
BUSY = 0.1  # of the processors' time, or of a rate: with more, a ceiling is not what a calm machine reaches


class Best(NamedTuple):
    """A ceiling, and the record that it is from."""

    record: CeilingRecord
    ceiling: Ceiling

    @property
    def library(self) -> str:
        """The library that reached it."""
        return self.record.library

    def __str__(self) -> str:
        rate, unit = self.ceiling.value / 1e9, "GFLOP/s" if self.ceiling.kind == "product" else "GB/s"
        when = f", measured {self.record.measured[:10]}" if self.record.measured else ""
        meanwhile = f" while {disturbed([self.record])}" if busy(self.record) else ""
        return f"{rate:.3g} {unit} ({self.library}{when}{meanwhile})"


class Bound(NamedTuple):
    """The least seconds of an operation on a device, whether ``compute`` or ``memory`` limits it, and that ceiling."""

    seconds: float
    by: str
    best: Best

    def refutes(self, time: Estimate) -> str:
        """Return why such a time cannot be, because it claims far more than the hardware can do; '' if it can be."""
        times = self.seconds / (time.high if time.has_interval else time.value)
        left = 1 - min(self.best.record.others or 0.0, MOST_OTHERS)  # of the processors' time, for what was measured
        if times < IMPOSSIBLE / left:
            return ""
        return (
            f"{times:.3g} times what this machine was seen to do at best ({self.by}): {self.best}. So the work was not "
            "done when its time was taken: a backend whose synchronize does not wait does this. Or this ceiling is too "
            "low: --fresh-ceilings measures it again"
        )


def busy(record: CeilingRecord) -> bool:
    """Whether the machine was busy while these ceilings were measured, so that they may be too low."""
    return bool(disturbed([record]))


def disturbed(records: Sequence[CeilingRecord]) -> str:
    """Return in words what disturbed the machine while these were measured, at worst; '' if nothing did."""
    parts = []
    if (others := max(record.others or 0.0 for record in records)) > BUSY:
        parts.append(f"other work took {others:.0%} of the processors' time")
    if (scatter := max(map(_scatter, records))) > BUSY:
        parts.append(f"the best repeats of a measurement differed by {scatter:.0%}")
    return " and ".join(parts)


def _scatter(record: CeilingRecord) -> float:
    """Return by how much the best repeat beat the second best: the median over all sizes, 0 if unknown."""
    return median([one.scatter for one in record.found if one.scatter is not None] or [0.0])


class Ceilings:
    """The ceilings of one run: of all that its libraries ever reached, the best."""

    def __init__(self, records: Sequence[CeilingRecord]) -> None:
        self._found = records
        self._best: dict[tuple[str, str], list[Best]] = {}
        for record in records:
            for one in record.found:
                self._best.setdefault((one.kind, record.device), []).append(Best(record, one))

    def of(self, kind: str, device: str) -> list[Best]:
        """Return every ceiling of one kind on one device, in the order in which they were measured."""
        return self._best.get((kind, device), [])

    @property
    def busy(self) -> list[CeilingRecord]:
        """The records of a busy machine, where no calm measurement followed."""
        last = {(record.library, record.device): record for record in self._found}
        return [record for record in last.values() if busy(record)]

    def when(self, device: str) -> str:
        """Return on which day or days they were measured, such as `` (2026-11-25)``; '' where that is not known."""
        days = sorted({record.measured[:10] for record in self._found if record.device == device and record.measured})
        return f" ({' to '.join(dict.fromkeys([days[0], days[-1]]))})" if days else ""

    def product(self, device: str) -> Best | None:
        """Return the fastest matrix product (FLOP/s) on a device."""
        return max(self.of("product", device), key=lambda best: best.ceiling.value, default=None)

    def bandwidth(self, device: str, size: int) -> Best | None:
        """Return the highest bandwidth (bytes/s) for ``size`` bytes or more; of the largest size beyond that."""
        found = self.of("bandwidth", device)
        large = [best for best in found if best.ceiling.size >= size]
        if large:
            return max(large, key=lambda best: best.ceiling.value)
        return max(found, key=lambda best: (best.ceiling.size, best.ceiling.value), default=None)

    def latencies(self, device: str) -> dict[str, float]:
        """Return the shortest call of each library, in seconds."""
        found: dict[str, float] = {}
        for best in self.of("latency", device):
            found[best.library] = min(best.ceiling.value, found.get(best.library, math.inf))
        return found

    def bounds(self, device: str, flops: int, size: int, caches: Caches = "warm") -> list[Bound]:
        """Return what bounds an operation of ``flops`` and ``size`` bytes: compute, then memory, if both were measured.

        From ``cold`` caches everything comes from memory, however small it is.
        """
        product, bandwidth = self.product(device), self.bandwidth(device, BEYOND_CACHES if caches == "cold" else size)
        if product is None or bandwidth is None:
            return []
        return [
            Bound(flops / product.ceiling.value, "compute", product),
            Bound(size / bandwidth.ceiling.value, "memory", bandwidth),
        ]

    def bound(self, device: str, flops: int, size: int, caches: Caches = "warm") -> Bound | None:
        """Return the larger of an operation's ``bounds``; None where nothing was measured."""
        return max(self.bounds(device, flops, size, caches), key=lambda bound: bound.seconds, default=None)
