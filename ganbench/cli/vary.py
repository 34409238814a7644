"""``ganbench compare --vary``: what ingredients of a model or a run cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .defaults import fitting
from .fail_if import conclude
from .shared import given, refuse
from .terminal import say, screen, shown, write

if TYPE_CHECKING:
    from ..measure.plan import Plan

APART = ("details", "fail_if", "resume", "sweep")  # speak of one run, or of other runs

vary_option = click.option(
    "--vary", multiple=True, metavar="INGREDIENT=VALUES...",
    help="What one ingredient costs: a run for each value, in turns with the run as it is asked for, and ratios to "
    "that: loss=hinge,least-squares batch-norm=off dtype=bfloat16 channels=2.  [repeatable]",
)  # fmt: skip


def planned(context: click.Context, said: Sequence[str], settings: dict[str, Any]) -> "dict[str, Plan]":
    """Return the plan of the base and of each variant; raises ``UsageError``."""
    from ..measure.variants import plans

    refuse(context, APART, "--vary")
    if not given(context, "ops"):
        settings = {**settings, "ops": "gan_iteration"}
    return fitting(context, lambda **asked: plans(said, asked), settings)


def carry_out(made: "dict[str, Plan]", results: Path, machine: str | None, form: str, output: Path | None) -> None:
    """Measure the variants, write the price list, and leave with the exit code that follows."""
    from ..measure.variants import announcement, carry_out
    from ..report.prices import render, tidy

    say(announcement(made))
    priced = shown(lambda progress: carry_out(made, results, machine, say, progress))
    size = screen(form, output)
    write(render(priced, form, size), output, size.colours)
    for point in priced.points:
        if point.run is not None:
            say(f"{point.value}: saved in {point.run.path}")
    left = [name for name in made if name not in {point.value for point in priced.points}]
    conclude(priced.ended, set(tidy(priced)["status"]), left=f"; not begun: {', '.join(left)}" * bool(left))
