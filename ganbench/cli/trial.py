"""The A/A trial of ``ganbench doctor``: NumPy against itself, and how small a difference runs here can detect."""

import math
from collections.abc import Mapping

import msgspec

from ..gan import preset
from ..measure.plan import make_plan
from ..measure.session import carry_out
from ..report.notes import control_line, disturbance
from ..results.run import Run
from ..results.statistics import Components, components, detectable, expected_width, pass_logs
from ..results.table import run_table
from .terminal import say

ROUNDS = 6
OPERATIONS = ("matmul", "adam_step", "gan_iteration")
# What a run of three frameworks and five operations reaches: its rounds, and the visits to the baseline in each.
# Seen on two cores; the other frameworks get fewer visits.
REACHED = {"a default run": (7, 14), "a run with --rigor full": (29, 17)}


def trial(rounds: int = ROUNDS) -> list[str]:
    """Return what NumPy against a second copy of itself says of this machine, line by line."""
    run, found = measured(rounds)
    lines = [control_line(run_table(run)), disturbance(run)]
    lines += [sentence(what, found) for what in REACHED if found]
    return [line for line in lines if line]


def measured(rounds: int = ROUNDS) -> tuple[Run, dict[str, Components]]:
    """Time NumPy against a second copy of itself (about 20 s); return the run, and its noise by operation."""
    plan = make_plan(preset("mnist-mlp"), backends="numpy", ops=OPERATIONS, rounds=rounds)
    run = carry_out(msgspec.structs.replace(plan, control=True, ceilings=False), None, None, say, lambda *_: None)
    logs = {name: _logs(run, name) for name in OPERATIONS}
    return run, {name: components(found) for name, found in logs.items() if len(found) > 1}


def _logs(run: Run, name: str) -> list[list[float]]:
    ours, theirs = run.visits(name, "numpy"), run.visits(name, "numpy", copy=True)
    return [pass_logs(ours[i], theirs[i]) for i in sorted(ours.keys() & theirs.keys())]


def sentence(what: str, found: Mapping[str, Components]) -> str:
    """Return in one sentence which differences ``what``, one of ``REACHED``, should tell apart on this machine."""
    least = {name: forecast(one, *REACHED[what]) for name, one in found.items()}
    rounds, visits = REACHED[what]
    shown = ", ".join(f"{name} {difference:.0%}" for name, difference in least.items())
    return (
        f"{what} of three frameworks ({rounds} rounds, about {visits} visits to a case in each) should detect these "
        f"differences and larger ones: {shown}"
    )


def forecast(found: Components, rounds: int, visits: int) -> float:
    """Return the smallest relative difference that so many rounds of so many visits should detect."""
    return detectable(expected_width(rounds) * math.sqrt(found.between + found.within / visits))
