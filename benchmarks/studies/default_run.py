"""What does a default run of three frameworks and five operations reach: in how long, and how narrow are its intervals?

Runs as ``ganbench compare --backends numpy,torch,jax`` makes them, ceilings kept from the first to the others. Of each
it says how long it took, which share of that was timed, and how wide the intervals are, of the frameworks' ratios to
NumPy and of NumPy's own to its second copy.

Seven minutes on 2 cores: ``python benchmarks/studies/default_run.py``
"""

import math
import statistics
import time

from study import BASELINE, CONTROL, Study, options, round_visits, speed

import ganbench
from ganbench.results.statistics import half_width

BACKENDS = ("numpy", "torch", "jax")
TIMES = 5
SECONDS, DUTY, MEDIAN, NINE_IN_TEN = 90.0, 0.45, 0.025, 0.05


def main() -> None:
    parser = options("default_run", __doc__, resumable=True)
    chosen = parser.parse_args()
    times, rounds, preset = (1, 2, "tiny") if chosen.short else (TIMES, None, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, preset=preset, times=times)
    for number in range(len(study.pieces), times):
        start = time.monotonic()
        run = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, seed=number, results=None)
        seconds = time.monotonic() - start
        last = max(one.round for one in run.measurements)
        failed = [f"{one.operation} on {one.target}: {one.reason}" for one in run.measurements if one.status != "ok"]
        told = {"seconds": seconds, "duty": run.duty, "rounds": last, "failed": failed}
        study.add(told | {"visits": round_visits(run)})
        study.say(f"{number + 1} of {times}: {seconds:.0f} s, {last} rounds, {run.duty:.0%} timed")
    study.conclude(judge(study.pieces))


def widths(piece: dict) -> dict[str, list[float]]:
    """Return the half-widths of every operation, of the control and of the frameworks."""
    found: dict[str, list[float]] = {"control": [], "frameworks": []}
    for visits in piece["visits"].values():
        if BASELINE not in visits or CONTROL not in visits:  # it failed
            continue
        own = [visits[BASELINE], visits[CONTROL]]
        cases = [("control", own[:1], own[1])]
        cases += [("frameworks", own, one) for name, one in visits.items() if name not in (BASELINE, CONTROL)]
        for name, ours, theirs in cases:
            if (ratio := speed(ours, theirs)).has_interval:
                found[name].append(half_width(ratio))
    return found


def judge(pieces: list[dict]) -> dict:
    """Return the verdict on time, duty and the widths of the frameworks' intervals."""
    seconds, duty = [piece["seconds"] for piece in pieces], [piece["duty"] for piece in pieces]
    middle, high = of(pieces, "frameworks")
    own, failed = of(pieces, "control"), [reason for piece in pieces for reason in piece.get("failed", ())]
    within = max(seconds) <= SECONDS and min(duty) >= DUTY
    return {
        "passed": len(pieces) >= TIMES and not failed and within and middle <= MEDIAN and high <= NINE_IN_TEN,
        "goal": f"at most {SECONDS:.0f} s, at least {DUTY:.0%} of them timed; half the intervals narrower than "
        f"± {MEDIAN:.1%}, nine in ten than ± {NINE_IN_TEN:.0%}",
        "measured": f"{min(seconds):.0f} to {max(seconds):.0f} s, {min(duty):.0%} to {max(duty):.0%} timed; PyTorch "
        f"and JAX against NumPy: half narrower than ± {middle:.1%}, nine in ten than ± {high:.1%}; NumPy against its "
        f"copy: ± {own[0]:.1%} and {own[1]:.1%}; {len(failed)} cases failed",
        "failed": failed,
    }


def of(pieces: list[dict], which: str) -> tuple[float, float]:
    """Return the median half-width and the one that nine in ten do not exceed; NaN without any."""
    found = sorted(width for piece in pieces for width in widths(piece)[which])
    return (statistics.median(found), found[math.ceil(0.9 * len(found)) - 1]) if found else (math.nan, math.nan)


if __name__ == "__main__":
    main()
