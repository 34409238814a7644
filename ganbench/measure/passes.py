"""How many visits a case is worth in a round, and in which order the workers are visited.

More visits average what disturbs one of them; more rounds average the luck of a process, which visits cannot. Kalibera
and Jones (2013, section 7) say where the seconds do most, from the variance of either and what each costs.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..results.statistics import Components

LEAST, MOST = 6, 64  # visits of a case in a round
LEAST_LUCK = 0.01**2  # variance between rounds below which no few rounds can show it to lie

T = TypeVar("T")


class Cost(NamedTuple):
    """Seconds: of one visit, and of a case's share in starting a round."""

    visit: float
    start: float


def optimal_visits(cost: Cost, found: Components) -> float:
    """Return how many visits of a case in a round make its ratio most certain for the time they take."""
    return math.sqrt(cost.start / cost.visit * found.within / max(found.between, LEAST_LUCK))


class Share(NamedTuple):
    """Of the passes over an operation, a case takes part in the first and then in every ``stride``-th.

    Strides are powers of two, so that any two cases meet in all passes of the one that is visited less.
    """

    passes: int
    stride: int

    @property
    def visits(self) -> int:
        """How often the case is visited."""
        return -(-self.passes // self.stride)


def shares(
    wanted: Mapping[T, float], costs: Mapping[T, Cost], group: Callable[[T], object], room: float
) -> dict[T, Share]:
    """Return each case's share of the passes that its group takes together.

    As many visits as are ``wanted``, within limits, and less of everything where all together would take more than
    ``room`` seconds; never fewer than ``LEAST`` passes.
    """
    scale = 1.0
    while True:
        visits = {case: min(max(scale * number, LEAST), MOST) for case, number in wanted.items()}
        most: dict[object, float] = {}
        for case, number in visits.items():
            most[group(case)] = max(number, most.get(group(case), 0.0))
        found = {c: Share(round(most[group(c)]), 1 << round(math.log2(most[group(c)] / n))) for c, n in visits.items()}
        if (
            max(visits.values(), default=0) <= LEAST
            or sum(one.visits * costs[case].visit for case, one in found.items()) <= room
        ):
            return found
        scale *= 0.95


def orders(members: Sequence[T], rng: random.Random) -> Iterator[list[T]]:
    """Yield one order for each pass, without end: every place and every neighbour is shared evenly.

    Rows of random Williams squares (Williams 1949): each member stands equally often in each place, and equally often
    directly after each other one, since what ran just before may matter.
    """
    while members:
        mixed = rng.sample(members, len(members))
        rows = williams(len(mixed))
        rng.shuffle(rows)
        yield from ([mixed[i] for i in row] for row in rows)


def turns(items: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Yield the items in random order, again and again, without end."""
    while True:
        yield from rng.sample(items, len(items))


def williams(n: int) -> list[list[int]]:
    """Return the rows of a Williams square of ``n`` treatments; twice as many where ``n`` is odd."""
    first = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]
    rows = [[(number + turn) % n for number in first] for turn in range(n)]
    return rows + [row[::-1] for row in rows] if n % 2 else rows
