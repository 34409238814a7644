"""What does it cost a default run that nothing is timed without being verified?

Runs of three frameworks and five operations, as ``ganbench compare`` makes them. The cost is the time in which a run
does nothing but verify: it waits for the oracle or for outputs that are shown, looks whether ``synchronize`` waits, or
looks at an examined visit. What the oracle computes while workers start is not in it. (Until 2026-11-29 runs with and
without the gate were compared in pairs; they differ by more than the gate costs.)

Eight minutes on 2 cores: ``python benchmarks/studies/gate_cost.py``
"""

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from unittest import mock

from study import Study, options

import ganbench
from ganbench.measure.member import Member
from ganbench.measure.oracle import OracleClient

BACKENDS = ("numpy", "torch", "jax")
RUNS = 3
MOST = {"mnist-mlp": 0.05, "dcgan-28": 0.1}  # of a run, by model
VERIFYING = ((Member, ("_gate", "_waits", "hand_in", "examine")), (OracleClient, ("settle", "inputs")))


class Stopwatch:
    """The seconds spent in methods that are ``watched``; what one calls of another counts once."""

    def __init__(self) -> None:
        self.seconds, self._inside = 0.0, False

    def watched(self, method: Callable) -> Callable:
        @functools.wraps(method)
        def timed(*args: object) -> object:
            if self._inside:
                return method(*args)
            start, self._inside = time.perf_counter(), True
            try:
                return method(*args)
            finally:
                self.seconds, self._inside = self.seconds + time.perf_counter() - start, False

        return timed

    def visited(self, method: Callable) -> Callable:
        """Watch visits: an examined one verifies for as long as it takes more than such a visit usually does."""

        @functools.wraps(method)
        def timed(member: Member, name: str, number: int, *args: object) -> None:
            usual, start = member.visit_s(name), time.perf_counter()
            method(member, name, number, *args)
            if member._examined.get(name) == number:
                self.seconds += max(0.0, time.perf_counter() - start - usual)

        return timed


@contextlib.contextmanager
def watching() -> Iterator[Stopwatch]:
    """Watch all that verifies, in the runs inside this context."""
    found = Stopwatch()
    with contextlib.ExitStack() as stack:
        for owner, names in VERIFYING:
            for name in names:
                stack.enter_context(mock.patch.object(owner, name, found.watched(getattr(owner, name))))
        stack.enter_context(mock.patch.object(Member, "visit", found.visited(Member.visit)))
        yield found


def main() -> None:
    chosen = options("gate_cost", __doc__, resumable=True).parse_args()
    runs, rounds, presets = (1, 1, ("tiny",)) if chosen.short else (RUNS, None, tuple(MOST))
    study = Study(chosen, backends=BACKENDS, presets=presets, runs=runs)
    for number, preset in [(number, preset) for preset in presets for number in range(runs)][len(study.pieces) :]:
        start = time.monotonic()
        with watching() as found:
            ganbench.compare(BACKENDS, preset=preset, rounds=rounds, seed=number, results=None)
        study.add({"preset": preset, "seconds": time.monotonic() - start, "verifying_s": found.seconds})
        study.say(f"{preset}, {number + 1} of {runs}: {share(study.pieces[-1]):.1%}")
    study.conclude(judge(study.pieces))


def share(piece: dict) -> float:
    """Return the cost of the gate in one run, as a share of it."""
    return piece["verifying_s"] / piece["seconds"]


def judge(pieces: list[dict]) -> dict:
    """Return the verdict on the median cost by model."""
    shares: dict[str, list[float]] = {}
    for piece in pieces:
        shares.setdefault(piece["preset"], []).append(share(piece))
    return {
        "passed": all(
            len(shares.get(name, ())) >= RUNS and statistics.median(shares[name]) <= most for name, most in MOST.items()
        ),
        "goal": f"the gate takes at most {', '.join(f'{most:.0%} of a run of {name}' for name, most in MOST.items())}",
        "measured": "; ".join(
            f"{name}: median of {len(found)} runs {statistics.median(found):.1%} ({min(found):.1%} to {max(found):.1%})"
            for name, found in shares.items()
        ),
    }


if __name__ == "__main__":
    main()
