"""Does any ratio change because every visit begins with new inputs, which rotate over eight batches?

Default runs in turns: as ``ganbench compare`` makes them, and with inputs that repeat, as they did before: each
operation has one batch, and every visit begins from the same. A ratio may move by no more than its own interval.

Ten minutes on 2 cores: ``python benchmarks/studies/fresh_inputs.py``
"""

import math
import statistics
from unittest import mock

from study import PLUGIN, Study, options

import ganbench
from ganbench.results.statistics import half_width, speed_of

BACKENDS = ("numpy", "torch", "jax")
KINDS = ("fresh", "repeated")
PAIRS = 3


def main() -> None:
    chosen = options("fresh_inputs", __doc__, resumable=True).parse_args()
    pairs, rounds, preset = (1, 2, "tiny") if chosen.short else (PAIRS, None, "mnist-mlp")
    study = Study(chosen, backends=BACKENDS, preset=preset, pairs=pairs)
    for number in range(len(study.pieces), pairs):
        piece = {}
        for kind in KINDS if number % 2 else reversed(KINDS):
            # Every process that ganbench starts imports sitecustomize from there.
            site = {"PYTHONPATH": str((PLUGIN / kind).resolve())} if kind == "repeated" else {}
            with mock.patch.dict("os.environ", site):
                run = ganbench.compare(BACKENDS, preset=preset, rounds=rounds, seed=number, results=None)
            piece[kind] = {"duty": run.duty, "ratios": ratios(run)}
        study.add(piece)
        study.say(f"{number + 1} of {pairs}: {piece['repeated']['duty']:.0%} timed, fresh {piece['fresh']['duty']:.0%}")
    study.conclude(judge(study.pieces))


def ratios(run) -> dict[str, tuple[float, float]]:
    """Return of each operation and target the speed against NumPy, and the half-width of its interval."""
    found = {}
    for operation in run.header.operations:
        for target in BACKENDS[1:]:
            speed = speed_of(run.copies(operation, BACKENDS[0]), [run.visits(operation, target)])
            if speed is not None and speed.has_interval:
                found[f"{operation} {target}"] = speed.value, half_width(speed)
    return found


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: the mean change of each ratio over the pairs, against the half-width of its intervals."""
    shared = sorted(set.intersection(*(set(piece[kind]["ratios"]) for piece in pieces for kind in KINDS)))
    changes = {}
    for name in shared:
        pairs = [(piece["fresh"]["ratios"][name], piece["repeated"]["ratios"][name]) for piece in pieces]
        change = statistics.fmean(math.log(new / old) for (new, _), (old, _) in pairs)
        changes[name] = math.expm1(change), statistics.fmean(width for pair in pairs for _, width in pair)
    moved = [name for name, (change, width) in changes.items() if abs(change) > width]
    duty = [piece["fresh"]["duty"] for piece in pieces]
    told = ", ".join(f"{name} {change:+.1%} (± {width:.1%})" for name, (change, width) in changes.items())
    return {
        "passed": len(pieces) >= PAIRS and bool(shared) and not moved,
        "goal": "no ratio moves by more than its interval",
        "measured": f"mean change over {len(pieces)} pairs of runs: {told}; {min(duty):.0%} to {max(duty):.0%} timed",
    }


if __name__ == "__main__":
    main()
