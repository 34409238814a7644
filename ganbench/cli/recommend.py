"""``ganbench recommend``: which target, for this model, this many iterations and this machine."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from . import shared
from .defaults import Command, fitting
from .fail_if import conclude
from .terminal import announce, say, screen, shown, warnings_said, write

WITH_RUN = ("iterations", "run", "form", "results")  # all else is the run's own


@click.command(
    "recommend", cls=Command, settings="targets spec dtype threads data math budget_s timeout_s",
    changes={
        "backends": {"default": None, "usual": "every mode of everything installed"},
        "budget_s": {
            "help": "Stop measuring after this time: 120s, 2m. A round measures every target.", "default": 300.0,
        },
    },
)  # fmt: skip
@click.option("--iterations", type=int, required=True, metavar="N", help="How many iterations you want to train.")
@click.option("--run", metavar="RUN", help="Do not measure: use an earlier run; RUN is its id or file.")
@shared.format_option(("table", "json"))
@shared.results_option
@click.pass_context
def recommend_command(
    context: click.Context, /, iterations: int, run: str | None, form: str, results: Path, **options: Any
) -> None:  # fmt: skip
    """Say which target finishes N training iterations first.

    The time to start is included. Measures gan_iteration as 'ganbench compare' does, and saves the run. If it cannot
    decide, it says why.
    """
    from ..settings import LARGEST_INTEGER

    if not 1 <= iterations <= LARGEST_INTEGER:
        raise UsageError(f"iterations {iterations} is not valid: 1 to {LARGEST_INTEGER}")
    if run is not None:
        shared.refuse(context, set(context.params) - {*WITH_RUN}, "--run, which says what was measured")
    from .. import registry
    from ..measure.plan import announcement, make_plan
    from ..measure.session import carry_out
    from ..report.recommendation import candidates
    from ..report.recommendation_text import render
    from ..results.run import find_run, open_run
    from ..results.table import run_table

    if run is None:
        if options["backends"] is None:
            options["backends"] = registry.available(registry.parse_pythons(options["python"]))
        plan = fitting(context, partial(make_plan, ops="gan_iteration"), options)
        announce(announcement(plan))
        measured = shown(lambda progress: carry_out(plan, results, None, say, progress))
        say(f"saved in {measured.path}")
    else:
        with warnings_said():
            measured = open_run(find_run(run, results))
    table = run_table(measured)
    found, left_out, control = candidates(measured, table)
    if found:
        write(render(measured, table, found, left_out, control, iterations, form, screen(form)), None)
    else:
        for target, reason in left_out.items():
            say(f"left out: {target}: {reason}")
    if run is None:
        conclude(measured.ended, set(table["status"]))
    if not found:
        say("nothing can be recommended: no target was verified and timed")
        sys.exit(1)
