"""How many visits a case gets in a round, and in which order the workers are visited.

More visits average out the noise of a single visit. More rounds average out the differences between processes, which
visits cannot. Kalibera and Jones (2013, section 7) give the best number of visits: it follows from the two variances
and from the time that a visit and a round take.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..results.statistics import Components

LEAST, MOST = 6, 64  # visits of a case in a round
LEAST_LUCK = 0.01**2  # the smallest variance between rounds to be assumed: a few rounds cannot show a smaller one

T = TypeVar("T")


class Cost(NamedTuple):
    """Seconds: of one visit, and a case's share of the start of a round."""

    visit: float
    start: float


def optimal_visits(cost: Cost, found: Components) -> float:
    """Return the number of visits of a case in a round with which its ratio is most precise for the time spent."""
    return math.sqrt(cost.start / cost.visit * found.within / max(found.between, LEAST_LUCK))


class Share(NamedTuple):
    """The passes of an operation in which a case is visited: the first, and then every ``stride``-th.

    Strides are powers of two. So, of any two cases, the one with more visits is visited in every pass of the other.
    """

    passes: int
    stride: int

    @property
    def visits(self) -> int:
        """The number of visits of the case."""
        return -(-self.passes // self.stride)


def shares(
    wanted: Mapping[T, float], costs: Mapping[T, Cost], group: Callable[[T], object], room: float
) -> dict[T, Share]:
    """Return each case's share of the passes of its group.

    A case gets the ``wanted`` number of visits, within limits. If all visits together would take more than ``room``
    seconds, all cases get fewer, but never fewer than ``LEAST``.
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
    """Yield one order for each pass, without end: over all orders, each place and each predecessor is equally frequent.

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
