"""Where do the seconds of a default run go?

One run as ``ganbench compare --backends numpy,torch,jax`` makes it, ceilings measured anew, with a clock around
everything that the parent waits for: by round, seconds for importing, preparing, the gate, warm-up, ceilings, and
visits, of these what was timed.

A minute and a half on 2 cores: ``python benchmarks/studies/starts.py``
"""

import contextlib
import functools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from unittest import mock

from study import Study, options

import ganbench
from ganbench.measure import protocol
from ganbench.measure.member import Member
from ganbench.measure.oracle_client import OracleClient
from ganbench.measure.rounds import Rounds

BACKENDS = ("numpy", "torch", "jax")
LEAST = 0.95
GATE, IMPORT, PREPARE, WARM, CEILINGS, SWITCH, TIMED, REST = (
    "gate", "start and import", "prepare", "warm-up", "ceilings", "switch", "timed", "rest",
)  # fmt: skip
ASKED = {
    protocol.Prepare: PREPARE,
    protocol.Warm: WARM,
    protocol.Show: GATE,
    protocol.Look: GATE,
    protocol.Wait: GATE,
    protocol.Visit: SWITCH,
}
WATCHED = (
    (Rounds, "_one_round", lambda *_: REST),
    (Rounds, "_find_ceilings", lambda *_: CEILINGS),
    (Member, "spawn", lambda *_: IMPORT),
    (Member, "greet", lambda *_: IMPORT),
    (Member, "_ask", lambda member, name, request, *_: ASKED[type(request)]),
    (OracleClient, "inputs", lambda *_: GATE),
    (OracleClient, "compare", lambda *_: GATE),
    (OracleClient, "examine", lambda *_: GATE),
)


class Clock:
    """The seconds of each round by what they went to; a call inside another counts for itself alone."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, float]] = []
        self._inside = [0.0]

    def around(self, owner: type, name: str, kind: Callable[..., str]) -> mock._patch:
        """Return a patch that has a method's seconds counted as what ``kind`` says of its arguments."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def timed(*args, **kwargs):
            if owner is Rounds and name == "_one_round":
                self.rounds.append(defaultdict(float))
            start = time.monotonic()
            self._inside.append(0.0)
            try:
                return method(*args, **kwargs)
            finally:
                seconds = time.monotonic() - start
                inside = self._inside.pop()
                self._inside[-1] += seconds
                if self.rounds:
                    self.rounds[-1][kind(*args)] += seconds - inside

        return mock.patch.object(owner, name, timed)


def main() -> None:
    chosen = options("starts", __doc__).parse_args()
    rounds, preset = (2, "tiny") if chosen.short else (None, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, preset=preset)
    clock = Clock()
    with contextlib.ExitStack() as stack:
        for owner, name, kind in WATCHED:
            stack.enter_context(clock.around(owner, name, kind))
        start = time.monotonic()
        run = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, results=None, fresh_ceilings=True)
        seconds = time.monotonic() - start
    for number, spent in enumerate(clock.rounds, 1):
        timed = sum(one.iterations * sum(one.samples) for one in run.measurements if one.round == number)
        study.add({"round": number, "seconds": {**spent, SWITCH: spent[SWITCH] - timed, TIMED: timed}})
    study.add({"run_s": seconds})
    study.conclude(judge(study.pieces))


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: what is named adds up to the run."""
    rounds, whole = [piece["seconds"] for piece in pieces if "round" in piece], pieces[-1]["run_s"]
    first, *later = rounds
    told = sum(seconds for spent in rounds for kind, seconds in spent.items() if kind != REST)
    shown = [
        f"{kind} {first.get(kind, 0.0):.1f} and {statistics.fmean(one.get(kind, 0.0) for one in later or rounds):.1f}"
        for kind in (GATE, IMPORT, PREPARE, WARM, CEILINGS, SWITCH, TIMED, REST)
    ]
    return {
        "passed": told >= LEAST * whole and len(rounds) > 2,
        "goal": f"at least {LEAST:.0%} of the run are accounted for",
        "measured": f"{told / whole:.0%} of {whole:.0f} s; seconds of the first round and of a later one: "
        + ", ".join(shown),
    }


if __name__ == "__main__":
    main()
