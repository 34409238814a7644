"""Many models through the gate in several processes, and the verdict that no honest program of them is refused.

The targets stand in two groups. The second compiles each model for seconds, so it comes to a model after ten times as
many of the first. ``--budget`` ends a study earlier, and the verdict says on how many models which target ran.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from study import Study, options, upper_bound

from ganbench.measure.process import THREAD_VARIABLES
from ganbench.verification.gate import UNVERIFIABLE

AT_ONCE = 50  # pieces are begun, so that one which takes long does not keep the other processes waiting
LATER = 10  # times as many models of the first group before one of the second
Groups = tuple[tuple[str, ...], ...]


def in_pool(name: str, description: str, models: int, groups: Groups, tried: Callable, judge: Callable) -> None:
    """Run a study: add what ``tried`` returns for each model and group of targets, until its seconds are spent."""
    parser = options(name, description, resumable=True)
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds after which no model is begun")
    chosen = parser.parse_args()
    if chosen.short:
        models, groups = 3, groups[:1]
    study = Study(chosen, models=models, targets=groups)
    wanted = [(number, place) for place in range(len(groups)) for number in range(models)]
    wanted = sorted(wanted, key=lambda one: one[0] * LATER ** one[1])[len(study.pieces) :]
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # there is a process for each core
    end, spawned = time.monotonic() + chosen.budget, get_context("spawn")  # a forked process has no threads for JAX
    with ProcessPoolExecutor(os.cpu_count(), spawned, max_tasks_per_child=50) as pool:
        for begun in range(0, len(wanted), AT_ONCE):
            if time.monotonic() > end:
                break
            some = [(number, groups[place]) for number, place in wanted[begun : begun + AT_ONCE]]
            for piece in pool.map(tried, some):
                study.add(piece)
            study.say(f"{len(study.pieces)} pieces: {judge(study.pieces)['measured']}")
    study.conclude(judge(study.pieces))


def none_refused(pieces: list[dict], groups: Groups, models: int, what: str) -> dict:
    """Return the verdict on the rows of ``tolerance.gated`` of many models."""
    rows = [(piece["model"], piece["groups"], *row) for piece in pieces for row in piece["rows"]]
    refused = [row for row in rows if row[-1]]
    seen, bad = ({row[0] for row in some} for some in (rows, refused))
    ran = Counter(row[2] for row in rows if row[3] == "float32")
    left, outputs = (sum(row[place] for row in rows) for place in (5, 1))
    nearest = max((row for row in rows if not row[-1]), key=lambda row: row[4])
    names = [name for some in groups for name in some]
    bound = upper_bound(len(bad), len(seen))
    unverifiable = sum(UNVERIFIABLE in row[-1] for row in refused)
    return {
        "passed": all(ran[name] >= models for name in names) and not refused,
        "goal": f"0 of {models:,} {what} refused in float32 or float64 on {', '.join(names)}",
        "measured": f"{len(refused)} of {len(rows):,} gates refused, on {len(bad)} of {len(seen):,} models (95 % "
        f"upper bound {bound:.1%}), {unverifiable} gates because even correct programs disagree; "
        f"{', '.join(f'{name} on {ran[name]:,}' for name in names)}; {left / outputs:.1%} of groups not compared after "
        f"one iteration; the nearest: {nearest[0]} on {nearest[2]} in {nearest[3]}, {nearest[4]:.2f} of its tolerance",
        "refused": refused,
    }
