"""``ganbench compare --sweep`` and ``--vary``: one table over several runs."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..report.choices import EXCHANGE_FORMATS, format_of
from .defaults import fitting, of_project
from .fail_if import conclude
from .shared import given, refuse
from .terminal import hand_over, say, shown

if TYPE_CHECKING:
    from ..measure.plan import Plan

APART = ("details", "fail_if", "resume", "picture")  # speak of one run

sweep_option = click.option(
    "--sweep", metavar="VARIABLE=VALUES",
    help="One run for each value of batch, width (of hidden layers), threads, critic_steps (on the discriminator) or n "
    "(of n×n products): batch=1,8,32, or n=64..4096 for the powers of two. --budget is for each run.",
)  # fmt: skip
vary_option = click.option(
    "--vary", multiple=True, metavar="INGREDIENT=VALUES...",
    help="What an ingredient costs: one run for each value, in turns with the run without it, and the ratio of their "
    "times: loss=hinge,least-squares batch-norm=off dtype=bfloat16 channels=2.  [repeatable]",
)  # fmt: skip


def planned_sweep(context: click.Context, text: str, settings: dict[str, Any]) -> "tuple[str, dict[int, Plan]]":
    """Return the variable of a sweep, and the plan of each value; raises ``UsageError``."""
    from ..measure.models import model_of
    from ..measure.sweep import parse, plans
    from ..settings import OF_MODEL, Settings

    sweep = parse(text)
    said = {"n": (*OF_MODEL, "data")}.get(sweep.variable, (sweep.variable,))
    refuse(context, (*APART, *said), f"--sweep {sweep.variable}=...")
    left = {name: value for name, value in settings.items() if name not in said}
    if sweep.variable == "n" and not given(context, "ops"):
        left["ops"] = None  # not those of a project
    made = fitting(context, lambda **asked: plans(sweep, model_of(Settings(**asked)), **asked), left)
    return sweep.variable, dict(zip(sweep.values, made, strict=True))


def planned_prices(context: click.Context, said: Sequence[str], settings: dict[str, Any]) -> "dict[str, Plan]":
    """Return the plan of the base and of each variant; raises ``UsageError``."""
    from ..measure.variants import plans

    refuse(context, (*APART, "sweep"), "--vary")
    if not given(context, "ops"):
        settings = {**settings, "ops": "gan_iteration"}
    return fitting(context, lambda **asked: plans(said, asked), settings)


def carry_out(
    variable: str, made: "Mapping[Any, Plan]", results: Path, machine: str | None, context: click.Context,
    turns: bool = False,
) -> None:  # fmt: skip
    """Measure what differs in a variable, or variants in ``turns``; write the table, and leave with the exit code."""
    from ..measure.several import announcement, carry_out
    from ..report import prices, sweep

    form, exports = context.params["form"], context.params["exports"]
    if form in EXCHANGE_FORMATS and of_project(context, "form"):
        form = "table"
    for asked in (form, *(format_of(path.name) for path in exports)):
        if asked in EXCHANGE_FORMATS:
            raise UsageError(f"the format {asked} holds one run, not several: see 'ganbench results show --help'")
    report: Any = prices if turns else sweep
    say(announcement(variable, made, turns))
    found = shown(lambda progress: carry_out(variable, made, results, machine, say, progress, turns))
    hand_over(partial(report.render, found), form, exports)
    if form == "csv" and not turns:
        for sentence in sweep.sentences(found):
            say(sentence)
    left = ""  # how what was interrupted, and what was not begun, can be had
    for point in found.points:
        if point.run is not None:
            say(f"{variable} {point.value}: saved in {point.run.path}")
            if point.run.ended.how == "interrupted" and point.run.path is not None:
                left += f"; 'ganbench compare --resume {point.run.path}' finishes {variable} {point.value}"
    if found.left:
        left += f"; not begun: {variable} {', '.join(map(str, found.left))}"
    conclude(found.ended, set(report.tidy(found)["status"]), left=left)
