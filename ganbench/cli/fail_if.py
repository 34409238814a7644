"""``ganbench compare --fail-if``: conditions that decide the exit code; 1 means only that one of them holds."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .defaults import TABLE, of_project
from .shared import given
from .terminal import say

if TYPE_CHECKING:
    from ..measure.plan import Plan
    from ..report.condition import Condition
    from ..results.run import Ending, Run

NARROWING = ("backends", "devices", "ops", "baseline", "resume")  # after them a project's conditions may not fit

fail_if_option = click.option(
    "--fail-if", multiple=True, metavar="CONDITION",
    help="Exit with 1 if 'TARGET/OPERATION slower|faster than FACTORx' is true, relative to the baseline; with 3 if "
    "that cannot be decided, 4 if it was not measured.  [repeatable]",
)  # fmt: skip


def conditions_of(context: click.Context, texts: Iterable[str], plan: "Plan") -> "list[Condition]":
    """Return the conditions on a run; one of a project that does not fit the command line is left out, and told."""
    from ..report.condition import parse

    found = []
    for text in texts:
        try:
            found.append(parse(text, plan.targets, plan.operations, plan.baseline))
        except UsageError as error:
            if not (of_project(context, "fail_if") and given(context, *NARROWING)):
                raise
            say(f"{error}; so this condition from {TABLE} in {context.obj} is not used")
    return found


def evaluate_all(conditions: "Sequence[Condition]", runs: "Sequence[Run]") -> int:
    """Print the finding of each condition on runs of the same work; return the exit code, 0 without conditions."""
    from ..report.condition import evaluate, exit_code
    from ..report.repeated import joined

    table = joined(runs)
    findings = [evaluate(condition, table) for condition in conditions]
    for finding in findings:
        say(str(finding))
    if len(runs) == 1 and any(finding.outcome == "holds" for finding in findings):
        say(f"one run does not confirm it: measure again with 'ganbench compare --again {runs[0].header.run_id}'")
    return exit_code(findings)


def conclude(ended: "Ending", states: Iterable[str], failure: int = 1, done: str = "measured", left: str = "") -> None:
    """Say what went wrong, and leave with the exit code for it: 130, or ``failure``.

    ``states`` are the statuses of the rows, ``done`` is what was to be done for them, ``left`` what was not begun.
    """
    if ended.how == "interrupted":
        say(f"interrupted: the table shows what was {done} until then{left}")
        sys.exit(130)
    if not ended.finished:
        say(ended.why)
        sys.exit(failure)
    if "ok" not in states:
        say(f"nothing was {done}: each row has the reason")
        sys.exit(failure)
