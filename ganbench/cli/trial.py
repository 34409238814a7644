"""The A/A trial of ``ganbench doctor``: NumPy against itself, and how small a difference this machine can detect."""

import math
from collections.abc import Sequence

import msgspec

from ..gan import preset
from ..measure.plan import make_plan
from ..measure.session import carry_out
from ..report.notes import disturbance
from ..results.statistics import Estimate, detectable, half_width
from ..results.table import run_table
from .terminal import say

ROUNDS = 8  # what a quick run reaches
FULL_ROUNDS = 30  # what a full one reaches, roughly
STEPS = (0.02, 0.05, 0.10)  # the band itself, and two that matter to whoever buys hardware
OPERATIONS = ("matmul", "adam_step", "gan_iteration")


def trial(rounds: int = ROUNDS) -> list[str]:
    """Time NumPy against a second copy of itself (about 20 s); return what that says, in two lines."""
    plan = make_plan(preset("mnist-mlp"), backends="numpy", ops=OPERATIONS, rounds=rounds)
    run = carry_out(msgspec.structs.replace(plan, control=True, ceilings=False), None, None, say, lambda *_: None)
    columns = ["operation", "control_ratio", "control_low", "control_high"]
    controls = {name: Estimate(*ratio) for name, *ratio in run_table(run)[columns].itertuples(index=False)}
    shown = ", ".join(f"{name} {c.value:.2f} [{c.low:.2f}, {c.high:.2f}]" for name, c in controls.items())
    widths = [half_width(control) for control in controls.values()]
    disturbed = disturbance(run) or "disturbance was not recorded"
    return [f"numpy against itself, {rounds} rounds: {shown}", sentence(widths, rounds, disturbed)]


def sentence(widths: Sequence[float], rounds: int, disturbed: str) -> str:
    """Return in one sentence what this machine can tell apart, given the half-widths of its controls."""
    widest = max(widths, default=math.inf)
    if math.isinf(widest):
        return f"{rounds} rounds are too few to say how small a difference this machine can detect; {disturbed}"
    now, later = detectable(widest), detectable(widest * math.sqrt(rounds / FULL_ROUNDS))
    return (
        f"{rounds} rounds on this machine can detect a difference of {_step(now)} (exactly: {now:.1%} and more), "
        f"{FULL_ROUNDS} rounds about {_step(later)} ({later:.1%}); {disturbed}"
    )


def _step(difference: float) -> str:
    return next((f"{step:.0%}" for step in STEPS if difference <= 1.25 * step), f"not even {STEPS[-1]:.0%}")
