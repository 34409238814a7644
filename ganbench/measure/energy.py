"""The energy of an operation: each round has one stretch of calls for each case, measured by its worker."""

from ..backend import Backend, Program
from ..machine.energy import counter, stretch
from ..operation import Operation
from . import protocol
from .engine import collector_off, lead_in, most_calls

PIECE = 0.1  # of a visit, 2 ms: how exactly it is known when a counter moved


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
