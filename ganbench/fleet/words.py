"""The state of a fleet as text: a line for each machine, and the reasons why jobs are not done."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import isnan

from .journal import Seen
from .plan import Job
from .status import ANY, Standing

STATES = ("done", "running", "to do", "failed", "cannot")
MACHINES = ("machine", *STATES, "cores", "notes")


def machine_lines(rows: Sequence[Standing], seen: Mapping[str, Seen]) -> list[tuple[str, ...]]:
    """Return a line for each machine with ``MACHINES``: the number of jobs in each state, and a note."""
    counts: dict[str, dict[str, int]] = {name: {} for name in seen}
    for row in rows:
        mine = counts.setdefault(row.machine, {})
        mine[row.state] = mine.get(row.state, 0) + 1
    lines = []
    for name, mine in counts.items():
        line = seen.get(name)
        cores = str(line.about.cores) if line else ""
        notes = "" if line is None else f"refused: {line.refused}" if line.refused else "; ".join(line.remarks)
        lines.append((name, *(str(mine.get(state, 0) or "") for state in STATES), cores, notes))
    return lines


def reason_lines(jobs: Sequence[Job], rows: Sequence[Standing]) -> list[tuple[str, ...]]:
    """Return machine, state, jobs and reason for all jobs that run or cannot be done."""
    told = [row for row in rows if row.state in ("running", "failed", "cannot")]
    told.sort(key=lambda row: (row.machine, row.state, row.why))
    lines: list[tuple[str, ...]] = []
    for (machine, state, why), group in groupby(told, key=lambda row: (row.machine, row.state, row.why)):
        names = [jobs[row.number].name for row in group]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append((machine, state, names[0] + more, why))
    return lines


def rest(rows: Sequence[Standing], seconds: float) -> str:
    """Return how many runs are done, how many are left, and how long these should take."""
    left = sum(row.state in ("to do", "running", "failed") for row in rows)
    done = sum(row.state == "done" for row in rows)
    return f"{done} of {done + left} runs are done" + (f"; {left} to do: {duration(seconds)}" if left else "")


def duration(seconds: float) -> str:
    """Return a duration as text; NaN: unknown."""
    if isnan(seconds):
        return "it is not known how long, because runs with 'rounds' have no budget, and none is done yet"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} minutes" if seconds < 7200 else f"about {seconds / 3600:.1f} hours"


def first_lines(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each job of a plan, while no machine is known yet."""
    return [f"{job.name} ({'every machine' if job.every else ANY}{_needs(job)})" for job in jobs]


def _needs(job: Job) -> str:
    return f" with {', '.join(sorted(job.needs))}" if job.needs else ""
