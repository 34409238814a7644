"""When ceilings are measured: those of an earlier run are used, until a program is faster.

Ceilings belong to the machine and the library, and measuring them takes seconds. So they are stored for later runs, in
one small file for each library, in the user's cache folder. If the file cannot be read or written, they are measured
again. If the machine was busy meanwhile, they are used in this run but not stored.

A ceiling is what was seen, not a law. A verified program that is faster shows that the ceiling is too low, or that the
program did not do its work. The program's own time cannot tell which, so it raises no ceiling: the ceilings are
measured again, by the library's bare products and by arrays, at the end of the round. Only a time far beyond the better
of both is ``impossible``.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import msgspec

from .. import registry
from ..errors import StorageError
from ..machine import environment
from ..machine.processes import OtherWork
from ..operations import operation as make_operation
from ..registry import Target
from ..results.bounds import Ceilings, busy
from ..results.records import Ceiling, CeilingRecord, digits
from ..results.statistics import level
from ..results.store import cache_folder, replace_file
from . import engine, protocol
from .bandwidth import measure_bandwidth
from .ledger import Ledger
from .member import Member
from .plan import Plan

VERSION = 3  # raised when ceilings of earlier versions must not be used any more


class Source(NamedTuple):
    """What gives ceilings of a device: a library's worker, or the processor itself, which is no target."""

    target: Target | None
    measure: Callable[[], list[Ceiling]]

    @property
    def place(self) -> tuple[str, str]:
        """The library and its device."""
        return ("host", "cpu") if self.target is None else (self.target.backend, self.target.device)


class RunCeilings:
    """The ceilings of one run; ``tell`` is called before any is measured, with the share of the round that is done."""

    def __init__(self, plan: Plan, ledger: Ledger, tell: Callable[[float], None]) -> None:
        self._plan, self._ledger, self._tell = plan, ledger, tell

    def find(self, members: Sequence[Member]) -> None:
        """Write the ceilings of this machine: those that an earlier run has stored, or new ones."""
        for source in self._sources(members):
            record = None if self._plan.fresh_ceilings else recall_ceilings(self._plan, source.target)
            if record is None:
                self._tell(0.5)
                self._measure(source)
            else:
                self._write(record)

    def find_beaten(self, round_number: int, members: Sequence[Member]) -> None:
        """Measure again each ceiling that a verified program beat in this round, until that was done on a calm machine.

        This is once in most runs, so a program that is a little faster than its ceiling does not cost much.
        """
        beaten = self._beaten(round_number)
        for source in self._sources(members) if beaten else ():
            records = [one for one in self._ledger.ceilings if one.found and (one.library, one.device) == source.place]
            again = len(records) == 1 or (records and busy(records[-1]))
            if again and any((one.kind, record.device) in beaten for record in records for one in record.found):
                self._tell(1.0)
                self._measure(source)

    def _sources(self, members: Sequence[Member]) -> Iterator[Source]:
        plan = self._plan
        if any(target.device == "cpu" for target in plan.targets):
            yield Source(None, partial(measure_bandwidth, plan.pinned_cpus, plan.threads))
        for member in members:
            if plan.speaks_for_library(member.target, member.copy):
                yield Source(member.target, partial(_found_by, member, plan.pinned_cpus))

    def _beaten(self, round_number: int) -> set[tuple[str, str]]:
        """Return the kind and device of each ceiling that a case of the round was faster than."""
        plan, ceilings = self._plan, Ceilings(self._ledger.ceilings)
        beaten: set[tuple[str, str]] = set()
        for case, rounds in self._ledger.visits.items():
            operation, device = make_operation(case.operation, plan.spec), case.target.device
            for bound in ceilings.bounds(device, operation.flops, operation.bytes(plan.dtype), plan.caches):
                if round_number in rounds and level([*rounds[round_number].values()]) < bound.seconds:
                    beaten.add((bound.best.ceiling.kind, device))
        return beaten

    def _measure(self, source: Source) -> None:
        library, device = source.place
        others = OtherWork(self._plan.pinned_cpus)
        found, share = source.measure(), others.share()
        record = CeilingRecord(
            library=library,
            device=device,
            found=found,
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
            others=None if share is None else digits(share, 3),
        )
        if record.found and not busy(record):
            keep_ceilings(self._plan, source.target, record)
        self._write(record)

    def _write(self, record: CeilingRecord) -> None:
        self._ledger.ceilings.append(record)
        self._ledger.write(record)


def _found_by(member: Member, cpus: Sequence[int]) -> list[Ceiling]:
    """Measure the ceilings of a member's library, the visits on each of ``cpus`` in turn; nothing if that fails."""
    visits: dict[tuple[str, int], list[Ceiling]] = {}
    for cpu in cycle(cpus or (None,)):
        told = member.tell(protocol.FindCeilings(), protocol.CeilingVisit, cpu)
        if not isinstance(told, protocol.CeilingVisit):
            return []
        if told.visit is None:
            break
        visits.setdefault((told.visit.kind, told.visit.size), []).append(told.visit)
    return [Ceiling.best_of(repeats) for repeats in visits.values()]


def recall_ceilings(plan: Plan, target: Target | None) -> CeilingRecord | None:
    """Return the ceilings that an earlier run found under the same conditions; None if there are none.

    ``target`` None means the processor itself.
    """
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError):  # RuntimeError: no home folder
        return msgspec.json.decode(_path(plan, target).read_bytes(), type=CeilingRecord)
    return None


def keep_ceilings(plan: Plan, target: Target | None, record: CeilingRecord) -> None:
    """Keep ``record`` for later runs under the same conditions."""
    with contextlib.suppress(OSError, RuntimeError, StorageError):
        path = _path(plan, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(msgspec.json.encode(record)))


def _path(plan: Plan, target: Target | None) -> Path:
    facts = environment.metadata()
    conditions = [facts[name] for name in ("cpu", "logical_cpus", "gpus", "driver", "os", "python", "tuning")]
    library = [] if target is None else [target.backend, target.device, registry.version(target.backend, target.python)]
    if target is not None and target.python:
        library.append(target.python)
    asked = [list(plan.cpus), plan.dtype, plan.precision]
    key = msgspec.json.encode([VERSION, engine.VERSION, conditions, *asked, library])
    return cache_folder() / f"ceilings-{hashlib.sha256(key).hexdigest()[:16]}.json"
