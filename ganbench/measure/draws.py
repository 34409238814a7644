"""What the parent draws for a visit when it begins: its inputs, and what it is examined for."""

import random
import secrets

from ..operations.fresh import SEEDS
from .oracle import Examine, OracleClient
from .protocol import Examined, Timed, Visit


def new_seed() -> int:
    """Return a seed that nobody can know before."""
    return 1 + secrets.randbelow(SEEDS - 1)


def draw_visit(name: str, calls: int, iterations: int, oracle: OracleClient | None) -> Visit:
    """Return the request for a visit of so many calls of ``iterations`` each; ``oracle`` will examine it, if given.

    It is examined for a number of steps after which correct programs still agree; for few steps more often, which cost
    less.
    """
    examined = None
    if oracle is not None:
        agreeing = oracle.agreeing(name)
        steps = range(1, 1 + max(1, agreeing // iterations))
        then, path = random.choices(steps, [1 / number for number in steps], k=2)
        path = path * iterations if iterations <= agreeing else agreeing
        files = oracle.file(), oracle.file(), oracle.file()
        examined = Examined(random.randint(1, calls), then, path, files)
    return Visit(name, calls, new_seed(), examined)


def left_by(visit: Visit, timed: Timed, iterations: int) -> tuple[Examine, float] | None:
    """Return what the oracle is asked about a visit, and the seconds of the first look; None if it was not examined."""
    if visit.examined is None or timed.looked is None:
        return None
    one = visit.examined
    carried, seconds = timed.looked.carried, timed.looked.seconds
    return Examine(visit.operation, visit.seed, carried, one.then * iterations, one.path, one.files), seconds
