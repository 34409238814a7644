"""What does it cost a default run that nothing is timed without being verified?

Runs of three frameworks and five operations in turns: as ``ganbench compare`` makes them, and without the oracle, the
looks at outputs, and the examined visits. The cost is the difference of the seconds in which nothing was timed, as a
share of a run with the gate.

Twenty minutes on 2 cores: ``python benchmarks/studies/gate_cost.py``
"""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from unittest import mock

from study import Study, options

import ganbench
from ganbench.measure.ledger import Timings
from ganbench.measure.member import Member
from ganbench.measure.oracle import Asked
from ganbench.results.records import Verification

BACKENDS = ("numpy", "torch", "jax")
PAIRS, ROUNDS = 3, 7
MOST = {"mnist-mlp": 0.05, "dcgan-28": 0.1}  # of a run, by model
PASSED = Verification(0.0, False, [])


class AnyDigest(str):
    """Equal to every hash of inputs."""

    __hash__ = str.__hash__

    def __ne__(self, other: object) -> bool:
        return False


class Trusting:
    """A judge that asks no oracle and believes everything."""

    pid = os.getpid()

    def __init__(self, plan, folder) -> None:
        self._names = plan.timed_operations

    def inputs(self) -> dict[str, tuple[int, str, int]]:
        return {name: (0, AnyDigest(), 1) for name in self._names}

    def file(self) -> str:
        return os.devnull

    def settle(self) -> None:
        pass

    def draw(self, _) -> None:
        pass

    def stop(self) -> None:
        pass


def believed(member: Member, name: str, timings: Timings, most: int) -> Verification:
    """Let any program pass, without a look at it."""
    timings.verification = PASSED
    return PASSED


def unasked(member: Member, name: str) -> None:
    """Hand nothing in: the program has passed in the first round."""
    asked = Asked(Verification)
    asked.reply = PASSED
    member._timings[name].asked.append(asked)


@contextlib.contextmanager
def without_gate() -> Iterator[None]:
    """Let runs time whatever backends give."""
    with (
        mock.patch("ganbench.measure.rounds.OracleClient", Trusting),
        mock.patch.object(Member, "_gate", believed),
        mock.patch.object(Member, "hand_in", unasked),
        mock.patch.object(Member, "_waits", return_value=True),
        mock.patch.object(Member, "examine_in", return_value=None),
        mock.patch.object(Member, "examine", return_value=None),
    ):
        yield


def main() -> None:
    chosen = options("gate_cost", __doc__, resumable=True).parse_args()
    pairs, rounds, presets = (1, 1, ("tiny",)) if chosen.short else (PAIRS, ROUNDS, tuple(MOST))
    study = Study(chosen, backends=BACKENDS, presets=presets, rounds=rounds, pairs=pairs)
    for number, preset in [(number, preset) for preset in presets for number in range(pairs)][len(study.pieces) :]:
        piece = {"preset": preset}
        for gated in (True, False) if number % 2 else (False, True):
            start = time.monotonic()
            with contextlib.nullcontext() if gated else without_gate():
                run = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, seed=number, results=None)
            seconds = time.monotonic() - start
            piece["with" if gated else "without"] = {"seconds": seconds, "untimed_s": seconds * (1 - run.duty)}
        study.add(piece)
        study.say(f"{preset}, {number + 1} of {pairs}: {share(piece):.1%}")
    study.conclude(judge(study.pieces))


def share(piece: dict) -> float:
    """Return the cost of the gate in one pair, as a share of the run with it."""
    return (piece["with"]["untimed_s"] - piece["without"]["untimed_s"]) / piece["with"]["seconds"]


def judge(pieces: list[dict]) -> dict:
    """Return the verdict on the median cost by model."""
    shares: dict[str, list[float]] = {}
    for piece in pieces:
        shares.setdefault(piece["preset"], []).append(share(piece))
    return {
        "passed": all(
            len(shares.get(name, ())) >= PAIRS and statistics.median(shares[name]) <= most
            for name, most in MOST.items()
        ),
        "goal": f"the gate takes at most {', '.join(f'{most:.0%} of a run of {name}' for name, most in MOST.items())}",
        "measured": "; ".join(
            f"{name}: median of {len(found)} pairs of runs {statistics.median(found):.1%} "
            f"({min(found):.1%} to {max(found):.1%})"
            for name, found in shares.items()
        ),
    }


if __name__ == "__main__":
    main()
