"""The command line: arguments in, one clear message or table out. Heavy imports wait inside the commands."""

import os.path
import sys

if (
    not sys.flags.safe_path
    and sys.argv[0] in ("-m", f"{__file__.rsplit(os.sep, 2)[0]}{os.sep}__main__.py")
    and os.path.realpath(sys.path[0]) != os.path.realpath(__file__.rsplit(os.sep, 3)[0])
):
    # As ``python -m ganbench`` or ``ganbench.cli`` the first place is the current folder, where a user's random.py
    # would replace Python's. Nothing that may be hidden so is imported before.
    del sys.path[0]

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..report.choices import EXCHANGE_FORMATS, RUN_FORMATS, format_of
from ..report.escape import visible_lines
from . import several, shared, terminal
from .defaults import Command, fitting, read_project
from .fail_if import conclude, conditions_of, evaluate_all, fail_if_option
from .failures import failures_leave
from .fleet import fleet_command
from .model import model_command
from .recommend import recommend_command
from .report import diff_command, report_command, results_command
from .several import planned_prices, planned_sweep, sweep_option, vary_option
from .terminal import columns, say, shown
from .train import train_command

if TYPE_CHECKING:
    from ..measure.rounds import Progress
    from ..report.text import Screen
    from ..results.run import Run

VERIFY_LEGEND = """
error: relative error of a group of outputs, ‖output - reference‖ / ‖reference‖, after so many iterations.
ok: the error is within the tolerance, which follows from the rounding errors of correct programs in this model."""
TARGETS = "targets operations spec dtype threads data math timeout_s"  # settings: what is measured, on what
LIMITS = ("rounds", "budget_s", "precision_goal")
OF_TIMES = ("fail_if", "picture", "sweep", "vary")  # without which a run that counts has to do
BESIDE_A_RUN = "fail_if form details exports picture results".split()  # of a run that is there: all else is its own


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ganbench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Which framework, in which mode, runs the matrix work of your GAN fastest on this machine?

    Every program is checked against a float64 reference before it is timed. Start with:

    \b
      ganbench list
      ganbench compare --backends numpy,torch,jax
    """
    read_project(context, cli)


@cli.command(
    cls=Command,
    settings=f"{TARGETS} *",
    replaces={
        "resume": LIMITS,
        "again": LIMITS,
        "caches=cold": ["energy"],
        "count=True": (*OF_TIMES, "caches", "energy", "threads"),
        **{name: ["count"] for name in (*OF_TIMES, "threads", "energy")},
    },
)
@sweep_option
@vary_option
@click.argument("more", nargs=-1, metavar="")
@fail_if_option
@shared.format_option(RUN_FORMATS + EXCHANGE_FORMATS)
@shared.details_option
@shared.export_option(RUN_FORMATS + EXCHANGE_FORMATS)
@click.option(
    "--picture", type=shared.FILE, metavar="FILE", help="Draw the speeds with their intervals: .png, .svg or .pdf."
)
@shared.results_option
@click.option(
    "--machine", metavar="NAME", help="Name of this machine and of its folder.  [default: made from the hardware]"
)
@click.option("--resume", metavar="RUN", help="Continue a run that was interrupted; RUN is its file or id.")
@click.option("--again", metavar="RUN", help="Measure RUN again, as it was; several runs can confirm a difference.")
@click.pass_context
def compare(
    context: click.Context, /, form: str, details: bool, exports: tuple[Path, ...], picture: Path | None,
    results: Path, machine: str | None, fail_if: tuple[str, ...], resume: str | None, again: str | None,
    sweep: str | None, vary: tuple[str, ...], more: tuple[str, ...], **settings: Any,
) -> None:  # fmt: skip
    """Check, time and compare targets. Saves the run and prints a table."""
    from ..measure.plan import announcement, make_plan
    from ..measure.session import again as once_more, carry_out, interrupted, resume as go_on
    from ..report import repeated
    from ..report.condition import NOT_MEASURED
    from ..report.export import left_out, render
    from ..report.text import PAPER
    from ..results.repeats import repeats
    from ..results.run import find_run
    from ..results.table import run_table

    failure = NOT_MEASURED if fail_if else 1
    with failures_leave(failure):
        terminal.check_picture(picture)
        if more and not vary:
            raise UsageError(f"'{' '.join(more)}' is not an option: 'ganbench compare --help' shows what is valid")
        if settings["count"]:
            shared.refuse(context, OF_TIMES, "--count, which takes no times")
        if vary:
            made = planned_prices(context, (*vary, *more), settings)
            return several.carry_out("variant", made, results, machine, context, turns=True)
        if sweep is not None:
            return several.carry_out(*planned_sweep(context, sweep, settings), results, machine, context)
        limits = {name: settings[name] for name in LIMITS}
        if resume is not None or again is not None:
            one = "resume" if resume is not None else "again"
            beside = f"--{one}: the run is measured as it was planned; to compare something else, start another"
            shared.refuse(context, set(context.params) - {*LIMITS, *BESIDE_A_RUN, one}, beside)
        if resume is not None:
            path = find_run(resume, results)
            plan = interrupted(path, **limits).plan
            work: Callable[[Progress], Run] = partial(go_on, path, say, **limits)
        else:
            if again is None:
                plan = fitting(context, make_plan, settings)
            else:
                path = find_run(again, results)
                plan, machine = once_more(path, **limits)
            work = partial(carry_out, plan, results, machine, say)
        conditions = conditions_of(context, fail_if, plan)
        terminal.announce(announcement(plan))
        run = shown(work)
        runs = repeats(run, path) if again is not None else [run]
        unwritten = ""

        def in_form(form: str, size: "Screen" = PAPER) -> str:
            text = render(run, form, details, size)
            with_repeats = len(runs) > 1 and form in ("table", "markdown")
            return f"{text}\n{repeated.render(runs, form, size)}" if with_repeats else text

        try:
            terminal.hand_over(in_form, form, exports)
            asked = {form, *(format_of(path.name) for path in exports)}
            for line in left_out(run) if asked & {*EXCHANGE_FORMATS} else ():
                say(line)
            if picture is not None:
                from ..report import chart

                terminal.draw(lambda: chart(run_table(run)), picture)
        except UsageError as error:  # what was measured is kept all the same
            unwritten = f"{error}; 'ganbench results show {run.path}' prints the table again"
        further = (
            f"; 'ganbench results show {run.path} --details' shows more"
            if form == "table" and not (details or run.header.count)
            else ""
        )
        say(f"saved in {run.path}{'' if unwritten else further}")
        code = evaluate_all(conditions, runs)
        conclude(run.ended, set(run_table(run)["status"]), failure)
        if unwritten:
            say(unwritten)
            code = code or (0 if conditions else 1)
    sys.exit(code)


@cli.command(cls=Command, settings=TARGETS)
@click.pass_context
def verify(context: click.Context, /, **settings: Any) -> None:
    """Check correctness only, without timing.

    Shows the error of every group of outputs against the float64 reference. Exits with 1 if a program is wrong, or if
    nothing could be checked.
    """
    from ..measure.plan import make_plan
    from ..measure.session import carry_out

    run = shown(partial(carry_out, fitting(context, partial(make_plan, timed=False), settings), None, None, say))
    lines: list[tuple[str, ...]] = []
    for record in run.measurements:
        about = (record.operation, record.target)
        for entry in record.verification.errors if record.verification else ():
            status = "invalid" if entry.error > entry.tolerance else "ok"
            numbers = (str(entry.iterations), f"{entry.error:.1e}", f"{entry.tolerance:.0e}")
            lines.append((*about, entry.group, *numbers, status))
        if record.status != "ok":
            lines.append((*about, "", "", "", "", f"{record.status}: {record.reason}"))
    columns(("operation", "target", "outputs", "after", "error", "tolerance", "status"), lines)
    click.echo(VERIFY_LEGEND)
    if run.ended.how == "interrupted":
        sys.exit(130)
    conclude(run.ended, run.statuses, done="verified")
    if run.statuses & {"invalid", "failed", "timeout", "out of memory"}:
        sys.exit(1)


@cli.command("list", cls=Command, settings="python")
def list_command(python: str) -> None:
    """Show what can be measured here, and why other things cannot."""
    from .. import registry
    from ..report.listing import listing

    click.echo(listing(registry.parse_pythons(python)), nl=False)


@cli.command("doctor", cls=Command, settings="python")
def doctor_command(python: str) -> None:
    """Describe this machine, and measure how precise it is (a minute)."""
    from .. import registry
    from .doctor import findings

    for line in findings(registry.parse_pythons(python)):
        click.echo(visible_lines(line))


COMMANDS = recommend_command, train_command, model_command, report_command, diff_command, results_command, fleet_command
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line; whatever stops it is one line, and exit code 2 (usage) or 1."""
    terminal.open_streams()
    with failures_leave():
        cli.main(standalone_mode=False)
        sys.stdout.flush()
