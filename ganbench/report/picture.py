"""One chart as a picture: PNG, SVG or PDF for a paper, or an Altair chart in a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ..errors import UsageError, plural, refused, require, unknown
from ..results.case import KEYS
from ..results.run import RunOf
from . import chart_rows
from .choices import CHARTS, THEMES
from .relative import baseline_of, no_run, relative
from .selection import USUAL, Selection, select

if TYPE_CHECKING:
    from .charts import Chart

SUFFIXES = (".png", ".svg", ".pdf")
POINTS = 200  # of one series of the history
TOLD = {  # of each chart: its title, and why there is nothing to draw
    "ratios": ("Speed relative to {chosen}", "no target was measured against another"),
    "pays": ("When the later starter has caught up", "no iteration with its start was measured: run 'ganbench compare "
             "--ops gan_iteration'"),
    "roofline": ("How far from the limit", "no ceilings were measured"),
    "scaling": ("Time over {varied}", "nothing was measured at several values: run 'ganbench compare --sweep "
                "batch=1,8,32'"),
    "history": ("Time by day", "no case was measured more than once"),
    "memory": ("Memory at most", "no memory was recorded"),
    "training": ("Losses", "there is no training: run 'ganbench train', and name its folder"),
}  # fmt: skip
NOTHING = {name: why for name, (_, why) in TOLD.items()}


class Look(NamedTuple):
    """How a picture looks: its theme, and in pixels how wide its plot is and how large its letters are."""

    theme: str = "light"
    width: int | None = None  # None: as the chart has them
    font_size: int | None = None


def chart(
    df: pd.DataFrame, kind: str = "ratios", baseline: str | None = None, theme: str = "light", run_of: RunOf = no_run,
    *, width: int | None = None, font_size: int | None = None,
) -> "Chart":  # fmt: skip
    """Return an Altair chart of a table of ``load_results``: of the context that is known best and has what it shows.

    ``kind`` is one of ``ganbench.report.CHARTS`` but training; ``baseline`` a target, by default that of the newest
    run; ``width`` of the plot and ``font_size`` are in pixels. Raises ``UsageError`` where there is nothing to draw,
    ``UnavailableError`` without Altair.
    """
    if kind not in CHARTS:
        raise unknown("chart", kind, CHARTS)
    found = select(df)
    baseline_of(found.rows, baseline)  # whether it was measured anywhere
    rows = chart_rows.cells(found)
    series = chart_rows.varied(found) if kind == "scaling" else chart_rows.history(found, POINTS)[0]
    for context in chart_rows.best_known(rows):
        drawn, chosen = _rows(kind, found, rows, series, context, baseline, run_of)
        if drawn:
            break
    varied = drawn[0]["variable"] if kind == "scaling" and drawn else ""
    title = TOLD[kind][0].format(chosen=chosen, varied=varied)
    return draw(kind, drawn, title, subtitle(context), Look(theme, width, font_size))


def _rows(
    kind: str, found: Selection, rows: list[chart_rows.Row], series: list[chart_rows.Row], context: tuple[Any, ...],
    baseline: str | None, run_of: RunOf,
) -> tuple[list[chart_rows.Row], str]:  # fmt: skip
    """Return what a chart of one context shows, and its baseline."""
    timed = [row for row in chart_rows.within(rows, context) if not row["word"]]
    if not timed or (baseline is not None and all(row["label"] != baseline for row in timed)):
        return [], baseline or ""
    chosen = baseline_of(pd.DataFrame(timed), baseline)
    match kind:
        case "ratios":
            shown = chart_rows.forest(chart_rows.within(chart_rows.cells(relative(found, chosen, run_of)), context))
        case "pays":
            shown = chart_rows.paid(timed)
        case "roofline":
            shown = [row for row in timed if row["roof_gflops"] is not None and row["intensity"] is not None]
            shown += chart_rows.roofs(shown, run_of)
        case "scaling":
            shown = _one_variable(series, context)
        case "history":
            shown = chart_rows.within(series, context)
        case _:
            shown = [row for row in timed if row["host_peak_bytes"] is not None or row["device_peak_bytes"] is not None]
    return shown, chosen


def trained(folder: Path, look: Look) -> "Chart":
    """Return an Altair chart of the losses of all trainings below ``folder``; raises as ``chart`` does."""
    from .trained import rows, trainings

    found = trainings(folder) if folder.is_dir() else []
    return draw("training", rows(found), TOLD["training"][0], "; ".join(one.title for one in found[:1]), look)


def check(path: Path) -> None:
    """Raise ``UsageError`` unless a picture's name says its format, ``UnavailableError`` without what draws it."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write {path}: the name of a picture ends in one of {', '.join(SUFFIXES)}")
    require("report", "a chart", "altair", "vl_convert")


def save(made: "Chart", path: Path) -> str:
    """Write a chart to a file whose name says the format; return which letters are missing in it, in words.

    Raises ``UsageError`` where it cannot be written.
    """
    from ..training.curves import undrawn

    with refused(UsageError, f"cannot write {path}"):
        made.save(str(path), format=path.suffix[1:].lower(), ppi=144)
    missing = undrawn(made.to_json(ensure_ascii=False)) if path.suffix.lower() != ".svg" else ""
    return f"{missing}; an .svg keeps them" if missing else ""


def draw(kind: str, rows: list[chart_rows.Row], title: str, subtitle: str, chosen: Look) -> "Chart":
    """Return a chart of these rows; raises as ``chart`` does."""
    if chosen.theme not in THEMES:
        raise unknown("theme", chosen.theme, THEMES)
    if not rows:
        raise UsageError(f"no chart '{kind}' of these results: {NOTHING[kind]}")
    require("report", "a chart", "altair")
    from .charts import AS, BY_NAME, alt

    more: list[Any] = []
    if kind == "scaling":
        more = [rows[0]["variable"]]
    elif kind == "ratios":
        more = [{AS.get(row["verdict"], "not decided") for row in rows if row["verdict"]}]
    made: Any = BY_NAME[kind](alt.InlineData(rows), *more)
    if chosen.width is not None:
        (made.spec if isinstance(made, alt.FacetChart) else made).width = chosen.width
    settings = look(chosen.theme, chosen.font_size)
    return made.properties(title=alt.Title(title, subtitle=subtitle, anchor="start")).configure(**settings)


def look(theme: str, font_size: int | None = None) -> dict[str, Any]:
    """Return Vega's settings of a theme, with letters of this size, or of Vega's own."""
    text, line, back = ("#e6edf3", "#3d444d", "#0d1117") if theme == "dark" else ("#1f2328", "#d1d9e0", "#ffffff")
    words: dict[str, Any] = {"labelColor": text, "titleColor": text, "labelLimit": 0}
    heads: dict[str, Any] = {"color": text, "subtitleColor": text}
    if font_size is not None:
        words |= {"labelFontSize": font_size, "titleFontSize": font_size}
        heads |= {"fontSize": font_size + 2, "subtitleFontSize": font_size}
    return {
        "background": back,
        "font": "DejaVu Sans, Verdana, Arial, sans-serif",  # pictures are measured with the first; none is wider
        "view": {"stroke": line},
        "axis": {**words, "gridColor": line, "gridOpacity": 0.4, "domainColor": line, "tickColor": line},
        "legend": words,
        "header": words,
        "text": {"color": text, "fontSize": font_size or 10},
        "title": heads,
    }


def _one_variable(rows: list[chart_rows.Row], context: tuple[Any, ...]) -> list[chart_rows.Row]:
    """Return the rows of one context in which the first of batch, critic_steps, width, n and threads was varied."""
    for variable in ("batch", "critic_steps", "width", "n", "threads"):
        if found := [row for row in chart_rows.within(rows, context, variable) if row["variable"] == variable]:
            return found
    return []


def subtitle(context: tuple[Any, ...]) -> str:
    """Return in words what tells one context from another."""
    facts = dict(zip(KEYS, context, strict=True))
    cold = "cold caches, " * (facts["caches"] == "cold")
    data = f"data {facts['data']}, " * (facts["data"] != USUAL["data"])
    return (
        f"{facts['machine']}, {facts['model']}, {facts['dtype']} {facts['precision']}, "
        f"{data}{cold}{plural(facts['threads'], 'thread')}, measured by {facts['source']}"
    )
