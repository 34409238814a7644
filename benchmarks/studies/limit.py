"""How near every framework comes to its limit, measured in one run.

``gan_iteration`` on ``mnist-mlp`` in float32, every mode against ``torch.textbook`` and against the matrix products
alone. In every round, each time before iterations are timed, the independent yardstick runs, while all workers are
stopped. From the repository's root: ``python benchmarks/studies/limit.py`` (under nine minutes).
"""

import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from study import Study, options

import ganbench
from ganbench.machine.environment import usable_cpus
from ganbench.measure.process import child_environment
from ganbench.operations.products import FLOOR
from ganbench.results.run import open_run
from ganbench.results.statistics import Estimate, speed_ratio
from ganbench.results.table import run_table

MODES = ("torch.manual", "jax.scan", "numpy.inplace", "torch", "torch.compile", "jax", "numpy")
YARDSTICK = Path(__file__).with_name("yardstick.py")
ITERATION, TEXTBOOK = "gan_iteration", "torch.textbook"
TIMING = re.compile(rf"round (\d+): timing {ITERATION}$", re.M)
LIMIT = 0.08  # by which the yardstick and the textbook may differ


class Goal(NamedTuple):
    """What the fastest target of a library must reach at least, in a column of the table."""

    name: str
    library: str  # what its targets begin with
    column: str
    least: float


GOALS = (
    Goal("best mode of PyTorch", "torch", "ratio", 2.3),
    Goal("best mode of JAX", "jax", "ratio", 2.1),
    Goal("NumPy in place", "numpy.inplace", "ratio", 1.45),
    Goal("best of all", "", "percent_of_best_floor", 68),
    Goal("NumPy in place", "numpy.inplace", "percent_of_floor", 55),
)


def main() -> None:
    chosen = options("limit", __doc__).parse_args()
    preset, modes, rounds, blocks = ("tiny", MODES[:3], 1, 3) if chosen.short else ("mnist-mlp", MODES, 8, 5)
    threads = min(2, len(usable_cpus()))
    study = Study(chosen, preset=preset, modes=modes, rounds=rounds, blocks=blocks, threads=threads)

    def between_passes(share: float, doing: str) -> None:
        print(f"{share:4.0%} {doing}", file=sys.stderr)
        if found := TIMING.search(doing):
            study.add({"round": int(found[1]), "yardstick_s": yardstick(threads, blocks)})

    run = ganbench.compare(
        [TEXTBOOK, *modes], preset=preset, ops=[ITERATION], baseline=TEXTBOOK, rounds=rounds, threads=threads,
        results=study.path.parent if chosen.short else "results", ceilings=not chosen.short, progress=between_passes,
    )  # fmt: skip
    study.add({"run": str(run.path)})
    study.conclude(judge(study.pieces))


def yardstick(threads: int, blocks: int) -> float:
    """Return the seconds of an iteration that the independent loop measures in so many blocks."""
    done = subprocess.run(
        [sys.executable, str(YARDSTICK), str(blocks)], env=child_environment({}, threads), stdout=subprocess.PIPE,
        check=True, preexec_fn=lambda: os.sched_setaffinity(0, usable_cpus()[:threads]),
    )  # fmt: skip
    return json.loads(done.stdout)["textbook_s"]


def judge(pieces: list[dict]) -> dict:
    """Return the verdict on all goals, from the run's file and the yardsticks of its rounds."""
    *yardsticks, last = pieces  # one before each part of a round in which iterations are timed
    run = open_run(Path(last["run"]))
    table = run_table(run).set_index("target")
    table = table[(table["status"] == "ok") & (table.index != TEXTBOOK)]
    floors = [found for label in run.workers if (found := run.levels(FLOOR, label))]
    best = min(floors, key=lambda found: statistics.median(found.values()), default={})
    shares = [100 * by_round(best, run.levels(ITERATION, label)).value for label in table.index]
    reached = [reached_of(goal, table.assign(percent_of_best_floor=shares)) for goal in GOALS]
    loop = pd.DataFrame(yardsticks).groupby("round")["yardstick_s"].mean()
    same = by_round(loop.to_dict(), run.levels(ITERATION, TEXTBOOK))
    return {
        "passed": all(one["passed"] for one in reached) and abs(same.value - 1) <= LIMIT,
        "goal": ", ".join(f"{goal.name} {goal.column} {goal.least:g}" for goal in GOALS)
        + f"; the yardstick within {LIMIT:.0%} of {TEXTBOOK}",
        "measured": ", ".join(f"{one['name']} ({one['target']}) {one['value']:.3g}" for one in reached)
        + f"; yardstick ÷ {TEXTBOOK} {same.shown('{:.2f}'.format)}",
        "reached": reached,
    }


def by_round(ours: dict[int, float], theirs: dict[int, float]) -> Estimate:
    """Return the first seconds ÷ the second, from the rounds that have both."""
    pairs = [(ours[number], theirs[number]) for number in ours.keys() & theirs.keys()]
    return speed_ratio(*zip(*pairs, strict=True)) if pairs else Estimate(math.nan, math.nan, math.nan)


def reached_of(goal: Goal, table: pd.DataFrame) -> dict:
    """Return what the fastest target of a goal's library reached."""
    own = table[table.index.str.startswith(goal.library)].dropna(subset=["ratio", goal.column])
    target = own["ratio"].idxmax() if len(own) else "none was measured"
    value = float(own.loc[target, goal.column]) if len(own) else 0.0
    return {"name": goal.name, "target": target, "value": value, "passed": value >= goal.least}


if __name__ == "__main__":
    main()
