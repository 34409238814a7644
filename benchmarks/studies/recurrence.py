"""How far apart do runs of the same work lie, hours apart, and does ``confirmed`` stay silent about it?

A default run of NumPy, PyTorch and JAX, six times, with as much time between them as one gives. Nothing changes but the
hour. So every difference between two of them that is called ``faster`` or ``slower`` is false: by the interval of one
run each, as a reader compares two tables, and by two runs each, as ``ganbench diff`` confirms.

Each start adds one run of 85 s, or ``--runs N``, ``--pause MINUTES`` apart; ``--resume`` goes on with those of earlier
starts. Two hours: ``python benchmarks/studies/recurrence.py --runs 6 --pause 23``
"""

import itertools
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from study import BASELINE, CONTROL, Study, options, round_visits, speed, stop

import ganbench
from ganbench.results.repeats import Ratios, spread, together
from ganbench.results.statistics import MIN_ROUNDS, Estimate, Outcome, judge as judged

BACKENDS = ("numpy", "torch", "jax")
TIMES, HOURS = 6, 2.0
DIFFERENT: tuple[Outcome, ...] = ("faster", "slower")


def main() -> None:
    parser = options("recurrence", __doc__, resumable=True)
    parser.add_argument("--runs", type=int, default=1, help="how many runs to add")
    parser.add_argument("--pause", type=float, default=0.0, help="minutes between two of them")
    chosen = parser.parse_args()
    times, rounds, preset = (4, 5, "tiny") if chosen.short else (TIMES, None, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, preset=preset, times=times)
    for number in range(times if chosen.short else chosen.runs):
        time.sleep(60 * chosen.pause if number else 0)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        run = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, seed=len(study.pieces), results=None)
        study.add({"began": began, "visits": round_visits(run)})
        study.say(f"{len(study.pieces)} of {times}, begun {began}")
    if len(study.pieces) < times:
        stop(f"{len(study.pieces)} of {times} runs so far; add others at other hours with --resume")
    study.conclude(judge(study.pieces))


def ratios(piece: dict) -> dict[tuple[str, str], Estimate]:
    """Return the speeds of one run relative to its baseline that have an interval."""
    found = {
        (operation, name): speed([visits[copy] for copy in (BASELINE, CONTROL)], one)
        for operation, visits in piece["visits"].items()
        for name, one in visits.items()
        if name not in (BASELINE, CONTROL)
    }
    return {case: one for case, one in found.items() if one.has_interval}


def judge(pieces: Sequence[dict]) -> dict:
    """Return what pairs of runs, and pairs of two runs, say of work that is the same."""
    runs = [ratios(piece) for piece in pieces]
    hours = [datetime.fromisoformat(piece["began"]).timestamp() / 3600 for piece in pieces]
    apart, single, pairs = 0, 0, 0
    for ours, theirs in itertools.combinations(runs, 2):
        for case in ours.keys() & theirs.keys():
            within = math.hypot(*(math.log(one.high / one.low) / 2 for one in (ours[case], theirs[case])))
            moved = math.log(theirs[case].value / ours[case].value)
            change = Estimate(*(math.exp(moved + step) for step in (0.0, -within, within)))
            pairs += 1
            apart += abs(moved) > within
            single += judged(change, MIN_ROUNDS, None).outcome in DIFFERENT
    confirmed, groups = 0, 0
    for ours, theirs in _two_against_two(range(len(runs))):
        sides = [_gathered([runs[number] for number in side]) for side in (ours, theirs)]
        between = spread(sides)
        for case in sides[0].keys() & sides[1].keys():
            several = [side[case] for side in sides]
            if between is not None and min(map(len, several)) > 1:
                groups += 1
                confirmed += together(several, between).outcome in DIFFERENT
    over_all = spread([_gathered(runs)])
    deviation = math.sqrt(over_all.variance) if over_all else math.nan
    span = max(hours) - min(hours)
    return {
        "passed": len(pieces) >= TIMES and span >= HOURS and confirmed == 0,
        "goal": f"over {TIMES} runs in at least {HOURS:g} hours, two runs against two confirm no difference",
        "measured": f"{len(pieces)} runs in {span:.1f} hours: from run to run a speed changes by {deviation:.1%} "
        f"(standard deviation); of {pairs} pairs of single runs {apart} differ by more than their intervals "
        f"({apart / pairs:.1%}), {single} beyond the band; two against two: {confirmed} of {groups} confirmed",
    }


def _gathered(runs: Sequence[dict[tuple[str, str], Estimate]]) -> Ratios:
    return {case: [run[case] for run in runs if case in run] for case in set().union(*runs)}


def _two_against_two(numbers: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return every choice of two pairs that share no run, each once."""
    pairs = list(itertools.combinations(numbers, 2))
    return [(one, other) for one, other in itertools.combinations(pairs, 2) if not set(one) & set(other)]


if __name__ == "__main__":
    main()
