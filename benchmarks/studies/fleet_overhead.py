"""How much longer does a fleet on this machine take than its jobs? Six jobs by hand, then as a fleet of three workers.

By hand, the six commands are given one after another. The workers of the fleet wait for one another, since they are on
one machine. Its start counts: a scheduler, three workers, and their descriptions of the machine.

Six minutes, with nothing beside: ``python benchmarks/studies/fleet_overhead.py``
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from study import Study, options

from ganbench.fleet.plan import MODEL, jobs_of, read_plan

GANBENCH = (sys.executable, "-m", "ganbench.cli")
TURNS, WORKERS, LIMIT = 3, 3, 1.10
PLAN = """
[[matrix]]
backends = ["numpy", "torch"]
ops = ["matmul", "gan_iteration"]
sweep = "batch=16..512"
budget = 10
"""
SHORT = """
[[matrix]]
backends = ["numpy"]
presets = ["tiny"]
ops = ["matmul"]
threads = [1]
rounds = 1
"""


def main() -> None:
    chosen = options("fleet_overhead", __doc__).parse_args()
    turns = 1 if chosen.short else TURNS
    study = Study(chosen, turns=turns, workers=WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.toml"
        plan.write_text(SHORT if chosen.short else PLAN)
        jobs = jobs_of(read_plan(plan), plan.parent)
        for turn in range(turns):
            place = Path(folder) / f"turn {turn}"
            seconds = {}
            for way, work in (("by hand", by_hand), ("fleet", as_fleet))[:: 1 if turn % 2 else -1]:
                (place / way).mkdir(parents=True)
                start = time.monotonic()
                work(plan, jobs, place / way)
                seconds[way] = time.monotonic() - start
                if (came := len(list(place.glob(f"{way}/results/*/compare/*.jsonl")))) != len(jobs):
                    sys.exit(f"{way}: {came} runs of {len(jobs)}")
            study.add({"jobs": len(jobs), "seconds": seconds})
            study.say(f"by hand {seconds['by hand']:.1f} s, as a fleet {seconds['fleet']:.1f} s")
    study.conclude(judge(study.pieces))


def by_hand(plan: Path, jobs: list, place: Path) -> None:
    """Give the command of every job."""
    for job in jobs:
        if job.model:
            (place / MODEL).write_text(job.model)
        subprocess.run([*GANBENCH, "compare", *job.arguments, "--results", "results"], cwd=place, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def as_fleet(plan: Path, jobs: list, place: Path) -> None:
    """Carry out the plan."""
    command = [*GANBENCH, "fleet", "run", plan, "--cluster", f"local:{WORKERS}", "--results", "results"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def judge(pieces: list[dict]) -> dict:
    """Return the verdict: the median turn's ratio of fleet to jobs."""
    ratios = [piece["seconds"]["fleet"] / piece["seconds"]["by hand"] for piece in pieces]
    more = median(piece["seconds"]["fleet"] - piece["seconds"]["by hand"] for piece in pieces)
    count = pieces[0]["jobs"]
    return {
        "passed": len(ratios) == TURNS and median(ratios) <= LIMIT,
        "goal": f"a local fleet of {WORKERS} workers and 6 small jobs takes at most 10 % longer than its jobs",
        "measured": f"{count} jobs of some {median(piece['seconds']['by hand'] for piece in pieces) / count:.0f} s: "
        f"{100 * (median(ratios) - 1):+.1f} % ({more:.1f} s); by turn "
        + ", ".join(f"{100 * (ratio - 1):+.1f} %" for ratio in ratios),
        "ratios": ratios,
    }


if __name__ == "__main__":
    main()
