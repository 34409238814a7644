"""``ganbench compare --sweep``: one table over several values of one variable."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .defaults import fitting
from .fail_if import conclude
from .shared import given, refuse
from .terminal import say, screen, shown, write

if TYPE_CHECKING:
    from ..measure.plan import Plan
    from ..results.run import Sweep

APART = ("details", "fail_if", "resume")  # speak of one run

sweep_option = click.option(
    "--sweep", metavar="VARIABLE=VALUES",
    help="One run for each value of batch, width (of hidden layers), threads, critic_steps (steps on D) or n (of n×n "
    "products): batch=1,8,32, or n=64..4096 for the powers of two. --budget is for each run.",
)  # fmt: skip


def planned(context: click.Context, text: str, settings: dict[str, Any]) -> "tuple[Sweep, tuple[Plan, ...]]":
    """Return the sweep that the command line asks for, and the plan of each value; raises ``UsageError``."""
    from ..measure.models import model_of
    from ..measure.sweep import PRODUCTS, parse, plans
    from ..settings import OF_MODEL, Settings

    sweep = parse(text)
    said = {"n": (*OF_MODEL, "data")}.get(sweep.variable, (sweep.variable,))
    refuse(context, (*APART, *said), f"--sweep {sweep.variable}=...")
    left = {name: value for name, value in settings.items() if name not in said}
    if sweep.variable == "n" and not given(context, "ops"):
        left["ops"] = PRODUCTS[:1]
    return sweep, fitting(context, lambda **asked: plans(sweep, model_of(Settings(**asked)), **asked), left)


def carry_out(
    sweep: "Sweep", made: "tuple[Plan, ...]", results: Path, machine: str | None, form: str, output: Path | None
) -> None:
    """Measure a sweep, write its table, and leave with the exit code that follows."""
    from ..measure.sweep import announcement, carry_out_all
    from ..report.sweep import render, sentences, tidy

    say(announcement(sweep, made))
    swept = shown(lambda progress: carry_out_all(sweep, made, results, machine, say, progress))
    size = screen(form, output)
    write(render(swept, form, size), output, size.colours)
    if form == "csv":
        for sentence in sentences(swept):
            say(sentence)
    for point in swept.points:
        if point.run is not None:
            say(f"{sweep.variable} {point.value}: saved in {point.run.path}")
    left = ""  # how the run that was interrupted, and the values that were not begun, can be had
    last = swept.points[-1] if swept.points else None
    if last is not None and last.run is not None and last.run.ended.how == "interrupted" and last.run.path is not None:
        left = f"; 'ganbench compare --resume {last.run.path}' finishes {sweep.variable} {last.value}"
    if swept.left:
        left += f"; not begun: {sweep.variable} {', '.join(map(str, swept.left))}"
    conclude(swept.ended, set(tidy(swept)["status"]), left=left)
