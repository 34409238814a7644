"""Two runs side by side on one page of HTML: what ``ganbench diff`` finds, and under which conditions each was made."""

import base64
from typing import Any

import pandas as pd

from ...errors import require
from ...results.run import Run
from .. import provenance
from ..choices import THEMES
from ..difference import readable, reasons
from ..escape import visible
from ..picture import Look, draw
from .template import filled


def page(a: Run, b: Run, table: pd.DataFrame) -> str:
    """Return the page of what ``diff`` found in two runs; it needs no network, and no script.

    Raises ``UnavailableError`` without the ``report`` extra.
    """
    require("report", "the page", "jinja2", "vl_convert")
    import vl_convert

    rows, pictures = speeds(table), {}
    for theme in THEMES if rows else ():
        chart = draw("ratios", rows, "Speed in B relative to A", "", Look(theme))
        pictures[theme] = base64.b64encode(vl_convert.vegalite_to_svg(chart.to_dict()).encode()).decode()
    shown = readable(table)
    facts = [dict([*provenance.facts(run), *provenance.libraries(run)]) for run in (a, b)]
    return filled(
        "page.two_runs.html",
        title=visible(table.attrs["title"], keep="\n").splitlines(),
        pictures=pictures,
        columns=[visible(str(name)) for name in shown],
        rows=[list(map(visible, line)) for line in shown.to_numpy().tolist()],
        notes=[visible(note) for note in (*reasons(table), *table.attrs["notes"])],
        facts=[(name, *(of.get(name, "") for of in facts)) for name in dict.fromkeys([*facts[0], *facts[1]])],
    )


def speeds(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the chart of ratios shows, as ``chart_rows.forest``: the speed on which each verdict rests."""
    found: list[dict[str, Any]] = []
    for (operation, target), row in zip(table.index, table.to_dict("records"), strict=True):
        if "relative" not in row:
            return []  # counts, which are no speeds
        name = "ratio" if pd.isna(row["relative"]) else "relative"
        ends = [None if pd.isna(row[f"{name}{end}"]) else row[f"{name}{end}"] for end in ("", "_low", "_high")]
        if ends[0] is not None:
            if not found or found[-1]["case"] != visible(operation):
                found.append({"case": visible(operation), "target": "", "head": visible(operation), "verdict": None})
            told = dict(zip(("ratio", "ratio_low", "ratio_high"), ends, strict=True))
            found.append({"case": visible(operation), "target": visible(target), "verdict": row["verdict"], **told})
    return found
