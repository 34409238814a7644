"""Does asv give the same time as compare for the same case, and does ``asv run`` end within four minutes?

First the whole quick suite, on the clock. Then asv and compare in turns: three operations of NumPy, PyTorch and JAX,
asv from one process a target, compare from two rounds of new ones. Each turn gives a ratio for each case; theirs is
the Hodges–Lehmann estimate with its 95 % interval.

Fifteen minutes on 2 cores: ``python benchmarks/studies/asv_agreement.py``, which leaves asv's results where
``asv run`` leaves them.
"""

import subprocess
import sys
import tempfile
import time

from study import Study, options

import ganbench
from ganbench.results.statistics import speed_ratio

TARGETS = ("numpy", "torch", "jax")
SHAPES = {"adam_step": "218128", "matmul": "128x256x784", "gan_iteration": "128x64x256x784x128x1"}
LIMIT = 0.10
LONGEST_S = 240.0


def main() -> None:
    chosen = options("asv_agreement", __doc__, resumable=True).parse_args()
    turns, shapes = (2, {"matmul": SHAPES["matmul"]}) if chosen.short else (6, SHAPES)
    study = Study(chosen, targets=TARGETS, shapes=shapes, turns=turns)
    if not study.pieces:
        start = time.monotonic()
        run_asv("track_call\\('128x256x784', 'numpy'" if chosen.short else None)
        study.add({"asv_run_s": time.monotonic() - start})
        study.say(f"asv run: {study.pieces[0]['asv_run_s']:.0f} s")
    wanted = f"track_call\\('({'|'.join(shapes.values())})', '({'|'.join(TARGETS)})', 'float32'"
    for number in range(len(study.pieces), turns + 1):
        sides = [lambda: by_asv(shapes, wanted), lambda: by_compare(shapes)]
        found = [side() for side in (sides if number % 2 else reversed(sides))]
        asv_s, compare_s = found if number % 2 else reversed(found)
        study.add({"asv_s": asv_s, "compare_s": compare_s})
        study.say(f"turn {number} of {turns}")
    study.conclude(judge(study.pieces))


def run_asv(pattern: str | None) -> None:
    """Run asv's quick suite, or what matches."""
    command = [sys.executable, "-m", "asv", "run", *(("-b", pattern) if pattern else ())]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def by_asv(shapes: dict[str, str], pattern: str) -> dict[str, float]:
    """Return the median of each case from a new run of asv."""
    run_asv(f"^({'|'.join(shapes)})\\..*({pattern})")
    table = ganbench.load_results("results")
    newest = table[table["source"] == "asv"].sort_values("timestamp")
    return medians(newest.drop_duplicates(["operation", "shape", "target", "dtype"], keep="last"), shapes)


def by_compare(shapes: dict[str, str]) -> dict[str, float]:
    """Return the median of each case from a new run of compare."""
    with tempfile.TemporaryDirectory() as folder:
        run = ganbench.compare(TARGETS, ops=list(shapes), rounds=2, results=folder, ceilings=False)
        return medians(run.to_pandas(), shapes)


def medians(table: "ganbench.results.pd.DataFrame", shapes: dict[str, str]) -> dict[str, float]:
    """Return ``operation target`` → seconds of a call, for the cases that both measure."""
    rows = table[(table["dtype"] == "float32") & (table["status"] == "ok")]
    return {
        f"{row.operation} {row.target}": row.median_s
        for row in rows.itertuples()
        if shapes.get(row.operation) == row.shape and row.target in TARGETS
    }


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: no case further apart than the limit, and the suite in its time."""
    whole, *turns = pieces
    ratios = {
        case: tuple(speed_ratio([turn["asv_s"][case] for turn in turns], [turn["compare_s"][case] for turn in turns]))
        for case in turns[0]["compare_s"]
    }
    furthest = max(ratios, key=lambda case: abs(ratios[case][0] - 1))
    within = sum(abs(value - 1) <= LIMIT for value, _, _ in ratios.values())
    value, low, high = ratios[furthest]
    return {
        "passed": within == len(ratios) and whole["asv_run_s"] <= LONGEST_S,
        "goal": f"asv's time ÷ compare's within {LIMIT:.0%} in every case; asv run within {LONGEST_S:.0f} s",
        "measured": f"{within} of {len(ratios)} within {LIMIT:.0%}, furthest {furthest} {value:.3f} [{low:.3f}, "
        f"{high:.3f}]; asv run {whole['asv_run_s']:.0f} s",
        "ratios": ratios,
    }


if __name__ == "__main__":
    main()
