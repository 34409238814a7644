"""The energy of an operation: each round has one stretch of calls for each case, and one stretch of idle time."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..backend import Backend, Program
from ..errors import UnavailableError
from ..machine.energy import counter, stretch
from ..operation import Operation
from ..registry import Target
from ..results.records import EnergyRecord, PowerRecord, digits
from . import protocol
from .engine import collector_off, lead_in, most_calls

if TYPE_CHECKING:
    from .member import Member

PIECE = 0.1  # of a visit, 2 ms: how exactly it is known when a counter moved
REST_S = 0.002


def spend(backend: Backend, operation: Operation, program: Program, number: int) -> protocol.Spent:
    """Return the energy that calls in a row use; a visit has ``number`` calls. Raises ``UnavailableError``."""
    longest, piece = most_calls(operation, program), max(1, round(PIECE * number))
    piece = min(piece, longest)
    mark, carried = lead_in(backend, program, longest)

    def start() -> None:
        nonlocal carried, mark
        if carried + piece > longest:
            backend.synchronize(mark)
            program.reset()
            backend.synchronize(program.result)
            carried = 0
        for _ in range(piece):
            program()
        mark = backend.mark(program.result)
        carried += piece

    def finish() -> int:
        backend.synchronize(mark)
        return piece * program.iterations

    with collector_off():
        found = stretch(counter(backend.device).read, start, finish)
    return protocol.Spent(found.joules / found.done, found.seconds / found.done, found.seconds, found.doubt)


def at_rest(round_number: int, targets: Iterable[Target]) -> Iterator[PowerRecord]:
    """Yield the power of each device while every worker is stopped, or why it is not known."""
    for device in dict.fromkeys(target.device for target in targets):
        try:
            told = counter(device)
            found = stretch(told.read, lambda: None, _rest)
        except UnavailableError as error:
            yield PowerRecord(round=round_number, device=device, reason=str(error))
        else:
            watts = digits(found.joules / found.seconds)
            yield PowerRecord(round=round_number, device=device, source=told.source, watts=watts)


def _rest() -> int:
    time.sleep(REST_S)
    return 0


def of_case(round_number: int, name: str, member: "Member") -> EnergyRecord:
    """Return the energy of one iteration of a case, or why it is not known."""
    blank = EnergyRecord(round=round_number, operation=name, target=member.target.label)
    told = member.tell(protocol.Spend(name, member.number(name)), protocol.Spent)
    if not isinstance(told, protocol.Spent):
        return replace(blank, reason="its worker is lost" if told is None else told.reason)
    return replace(blank, **{field: digits(getattr(told, field)) for field in told.__struct_fields__})
