"""``ganbench report``, ``diff`` and ``results``: what was measured before, read, compared and passed on."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, plural, refused, unknown
from ..report.choices import CHARTS, EXCHANGE_FORMATS, PIVOT_FORMATS, RUN_FORMATS, THEMES, format_of
from .defaults import TABLE, Command, of_project
from .shared import FILE, details_option, export_option, format_option, results_option
from .terminal import announce, check_output, columns, draw, hand_over, say, shown, warnings_said, write

if TYPE_CHECKING:
    import pandas as pd

    from ..report.charts import Chart
    from ..report.text import Screen

# By option, the column that it chooses from.
WANTED = {"ops": "operation", "machine": "machine", "of_model": "model", "source": "source", "baseline": "target"}
BY = ("ratio", "batch", "critic_steps", "threads", "dtype", "commit", "machine")
# What of a project's defaults does not fit these: see ``Command``.
REPLACES = {
    "html": ("by", "across", "form", "baseline"),
    "picture": ("by", "across", "form"),
    "across": ("by", "baseline"),
    "across=False": ("against",),
    **{f"by={one}": ("baseline", "across", "against") for one in BY if one != "ratio"},
}
# Named as the option of the other commands, whose default in a project counts here, too.
PATH = click.argument("results", metavar="[PATH]", default="results", type=FILE)


@click.command("report", cls=Command, replaces=REPLACES)
@PATH
@click.option("--by", default="ratio", show_default=True, type=click.Choice(BY), help="What the columns show.")
@click.option(
    "--baseline", metavar="TARGET", help="The target that speeds are relative to.  [default: that of the newest run]"
)
@click.option("--ops", metavar="LIST", help="Only these operations.")
@click.option("--machine", metavar="NAME", help="Only results of this machine.")
@click.option("--model", "of_model", metavar="NAME", help="Only results of this model.")
@click.option("--across/--no-across", help="All machines side by side: times, and speeds relative to one machine.")
@click.option(
    "--against", metavar="MACHINE", help="With --across: the machine that speeds are relative to.  [default: the first]"
)
@click.option("--source", type=click.Choice(("compare", "asv")), help="Only results of compare, or only those of asv.")
@format_option(PIVOT_FORMATS)
@export_option((*PIVOT_FORMATS, "parquet"))
@click.option("--html", type=FILE, metavar="PAGE.html", help="Write everything as one page that needs no network.")
@click.option("--picture", type=FILE, metavar="FILE", help="Draw a chart: .png, .svg or .pdf.")
@click.option("--chart", type=click.Choice(CHARTS), default="ratios", show_default=True, help="Which chart to draw.")
@click.option("--theme", type=click.Choice(THEMES), default="light", show_default=True, help="Colours of the chart.")
@click.option("--width", type=click.IntRange(100, 4000), metavar="PIXELS", help="Width of the chart's plot.")
@click.option("--font-size", type=click.IntRange(4, 60), metavar="PIXELS", help="Size of the chart's letters.")
@click.pass_context
def report_command(
    context: click.Context, /, results: Path, by: str, baseline: str | None, across: bool, against: str | None,
    form: str, exports: tuple[Path, ...], html: Path | None, picture: Path | None, chart: str, theme: str,
    width: int | None, font_size: int | None, **_: str | None,
) -> None:  # fmt: skip
    """Show all results as a table, a page or a picture: speeds, scaling, or history.

    PATH is a folder or a run file. Results that differ in machine, model, dtype, precision, threads or version are
    never mixed.
    """
    path = results
    read = partial(_rows, context, path)
    if html or picture:
        if (by, form, exports, across) != ("ratio", "table", (), False) or (html and baseline):
            raise UsageError(
                "--by, --across, --format and --export belong to the table, not to --html or --picture; "
                "a page has every baseline"
            )
        check_output(html)
        announce(f"reading {path} and drawing it: some seconds, minutes for 100,000 rows")
        if picture:
            draw(lambda: _drawn(path, chart, read, theme=theme, width=width, font_size=font_size), picture)
        if html:
            _page(path, html, read()[0])
        return
    if baseline is not None and by != "ratio":
        raise UsageError(f"--baseline belongs to --by ratio, not to --by {by}")
    if across and by != "ratio":
        raise UsageError(f"--across and --by {by} cannot be given together: choose one of them")
    if across and baseline is not None:
        raise UsageError("--baseline names a target; with --across, --against names the machine to compare with")
    if against is not None and not across:
        raise UsageError("--against belongs to --across")
    from ..report import across as beside, history, ratio_matrix, scaling
    from ..report.formats import check_format, parquet, render
    from ..report.overview import overview
    from ..report.text import PAPER
    from ..results.run import runs_below

    for asked in (form, *(format_of(path.name) for path in exports)):
        check_format(asked)
    announce(f"reading {path}: some seconds, a minute for 100,000 rows")
    rows, baseline = read()
    besides = across or by == "machine"

    @cache
    def pivot() -> "pd.DataFrame":
        if besides:
            from ..report.measured import measured, of_several

            found = measured(rows, of_several(path))
            return beside.across(found, against) if across else beside.equals(found)
        if by == "ratio":
            return ratio_matrix(rows, baseline, runs_below(path))
        return history(rows) if by == "commit" else scaling(rows, by)

    def made(form: str, size: "Screen" = PAPER) -> str | bytes:
        if form in ("table", "markdown") and besides:
            return beside.render(pivot(), form, size)
        if form == "table" and by == "ratio":
            return overview(rows, baseline, size, runs_below(path))
        return parquet(pivot()) if form == "parquet" else render(pivot(), form, size)

    hand_over(made, form, exports)
    if form in ("csv", "json"):  # the others hold their notes
        for note in (pivot().attrs["title"], *pivot().attrs["notes"]):
            say(note)


@click.command("diff", cls=Command)
@click.argument("run_a")
@click.argument("run_b")
@results_option
@format_option(RUN_FORMATS)
@export_option(RUN_FORMATS)
@click.option("--html", type=FILE, metavar="PAGE.html", help="Write both runs side by side as a page.")
def diff_command(
    run_a: str, run_b: str, results: Path, form: str, exports: tuple[Path, ...], html: Path | None
) -> None:  # fmt: skip
    """Compare two runs of one machine: what became faster or slower.

    A run is its id, the beginning of its id, or its file. Runs that differ in machine, model, dtype, precision,
    threads or data are refused; versions and commits that differ are shown.
    """
    from ..report.difference import diff, opened, render

    check_output(html)
    with warnings_said():
        a, b = opened(run_a, results), opened(run_b, results)
        table = diff(a, b)
    if html:
        from ..report.web.two_runs import page

        write(page(a, b, table), html)
        return say(f"{html}: open it in a browser; it needs no network")
    hand_over(partial(render, table), form, exports)
    if form in ("csv", "json"):
        for note in (*table.attrs["title"].splitlines(), *table.attrs["notes"]):
            say(note)


@click.group("results")
def results_command() -> None:
    """List, show, import and pack saved runs."""


@results_command.command("list", cls=Command)
@PATH
def list_command(results: Path) -> None:
    """List every run in PATH: when, on which machine, what was measured, how it ended; and asv's files."""
    from ..report.runs import ASV_COLUMNS, COLUMNS, LEAST, listing

    with warnings_said():
        runs, suites, faults = listing(results)
    for fault in faults:
        say(fault)
    if runs:
        columns(COLUMNS, runs, COLUMNS[-1], LEAST)
    if runs and suites:
        click.echo()
    if suites:
        columns(ASV_COLUMNS, suites, ASV_COLUMNS[-1])
    if not (runs or suites):
        say(f"no runs in {results}: 'ganbench compare' makes them")


@results_command.command(cls=Command)
@click.argument("run")
@results_option
@format_option(RUN_FORMATS + EXCHANGE_FORMATS)
@details_option
def show(run: str, results: Path, form: str, details: bool) -> None:
    """Print the table of one RUN again: its id, the beginning of its id, or its file."""
    from ..report.export import left_out, render
    from ..results.run import find_run, open_run

    with warnings_said():
        found = open_run(find_run(run, results))
    hand_over(lambda form, size: render(found, form, details, size), form)
    for line in left_out(found) if form in EXCHANGE_FORMATS else ():
        say(line)


@results_command.command("schema", cls=Command)
@click.argument("number", metavar="[FORMAT]", default="2", type=click.Choice(("1", "2")))
def schema_command(number: str) -> None:
    """Print the JSON Schema of a line of a run file of FORMAT 1 or 2; new files have 2, the default."""
    from ..results.line_formats import schema

    click.echo(schema(int(number)), nl=False)


@results_command.command("import", cls=Command)
@click.argument("path", type=FILE)
@results_option
def import_command(path: Path, results: Path) -> None:
    """Copy someone else's results into yours, from a folder, a .zip, a .tar.gz or one file; every file is checked.

    Nothing is overwritten, and no link is followed. Files that are neither .jsonl nor .json are passed over.
    """
    from ..results.importing import import_results

    done = import_results(path, results)
    lines = [("taken", str(results / place)) for place in done.taken]
    lines += [("here already", str(results / place)) for place in done.same]
    lines += [("left out", f"{name}: {reason}") for name, reason in done.left_out]
    columns(("", ""), lines)


@results_command.command(cls=Command)
@PATH
@click.option("--output", required=True, type=FILE, metavar="DIR", help="Folder to write into; it must be new.")
def pack(results: Path, output: Path) -> None:
    """Write all results in PATH as one Parquet dataset, with a folder for each machine."""
    from ..report import pack as write_dataset
    from ..results.loading import load_results

    with warnings_said():
        rows = load_results(results)
    files = write_dataset(rows, output)
    click.echo(f"{len(rows)} rows in {plural(len(files), 'file')} below {output}")


def _page(path: Path, html: Path, rows: "pd.DataFrame") -> None:
    from ..report.web import write as write_page

    def made(progress: Callable[[float, str], None]) -> int:
        progress(0.5, f"making a page of {len(rows):,} rows")
        return write_page(path, rows, html)

    with refused(UsageError, f"cannot write {html}"):
        size = shown(made)
    count = plural(len(rows), "row")
    say(f"{html}: {count}, {size / 1e6:.2f} MB. Open it in a browser; it needs no network")


def _drawn(path: Path, chart: str, read: "Callable[[], tuple[pd.DataFrame, str | None]]", **look: Any) -> "Chart":
    from ..report import picture

    if chart == "training":
        return picture.trained(path, picture.Look(**look))
    from ..results.run import runs_below

    rows, baseline = read()
    return picture.chart(rows, chart, baseline, run_of=runs_below(path), **look)


def _rows(context: click.Context, path: Path) -> "tuple[pd.DataFrame, str | None]":
    """Return the rows that were asked for and the baseline; raises ``UsageError`` where there are none.

    A project's default of which there is nothing here gives way.
    """
    from ..registry import split_list
    from ..results.loading import load_outlines

    with warnings_said():
        rows = shown(lambda progress: load_outlines(path, progress=progress))
    if rows.empty:
        raise UsageError(f"no results in {path}: run 'ganbench compare', or name another folder")
    baseline: str | None = context.params["baseline"]
    for option, column in WANTED.items():
        named = context.params[option]
        names = [] if named is None else split_list(named) if option == "ops" and named else [named]
        if of_project(context, option):
            names = [name for name in names if (rows[column] == name).any()]
            if not names:
                say(f"no {option} '{named}' is in {path}, so this default from {TABLE} is left out")
                baseline = None if option == "baseline" else baseline
        if option == "baseline":
            continue
        for name in names:
            if not (rows[column] == name).any():
                raise unknown(f"{column} in these results", name, rows[column].dropna().unique())
        rows = rows[rows[column].isin(names)] if names else rows
    return rows, baseline
