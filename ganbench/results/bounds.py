"""The bound of an operation, from the ceilings of a run, and how near a case came to it.

The roofline model of Williams, Waterman & Patterson 2009: an operation takes at least its FLOP at the rate of
the best matrix product, and at least its bytes at the bandwidth of the memory that holds them; the larger
of the two is its bound. Small operations live in a cache, so bandwidth is looked up by size.
"""

import sys
from collections.abc import Iterable
from typing import NamedTuple

from .records import Caches, Ceiling, CeilingRecord, Line


class Bound(NamedTuple):
    """The least seconds of an operation on a device, and whether ``compute`` or ``memory`` limits it."""

    seconds: float
    by: str


class Best(NamedTuple):
    """A ceiling, and the library that reached it."""

    library: str
    ceiling: Ceiling


class Ceilings:
    """The ceilings of one run, over all libraries that took part."""

    def __init__(self, records: Iterable[Line]) -> None:
        self._found = [record for record in records if isinstance(record, CeilingRecord)]

    def of(self, kind: str, device: str) -> list[Best]:
        """Return every ceiling of one kind on one device, in the order in which they were measured."""
        records = [record for record in self._found if record.device == device]
        return [Best(record.library, c) for record in records for c in record.found if c.kind == kind]

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
        return max(found, key=lambda best: best.ceiling.size, default=None)

    def bound(self, device: str, flops: int, size: int, caches: Caches = "warm") -> Bound | None:
        """Return the bound of an operation of ``flops`` and ``size`` bytes; None where nothing was measured.

        From ``cold`` caches everything comes from memory, however small it is.
        """
        product, bandwidth = self.product(device), self.bandwidth(device, sys.maxsize if caches == "cold" else size)
        if product is None or bandwidth is None:
            return None
        compute = Bound(flops / product.ceiling.value, "compute")
        memory = Bound(size / bandwidth.ceiling.value, "memory")
        return max(compute, memory)
