"""One page of HTML with all results below a folder: it needs no network, and no file beside it.

Python decides what is known; ``page.js`` shows the reader's choice of it. Every text of a result is data there.
"""

import base64
import json
import math
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import require
from ...operations import ITERATION
from ...results.case import KEYS, machine_names
from ...results.collector import collector_off
from ...results.records import digits
from ...results.row_cache import code_hash
from ...results.run import Run, RunOf, runs_below
from ...results.statistics import BAND
from .. import chart_rows, provenance, trained
from ..across import across
from ..answer import winner
from ..choices import THEMES
from ..escape import visible
from ..measured import measured
from ..picture import NOTHING, look, subtitle
from ..recommendation import START_DOUBT, candidates
from ..relative import WORK, baseline_of, fastest, mean, speeds
from ..selection import Selection, contexts, has_time, select
from ..table import ABOVE, conditions
from .kept import kept_outlook, kept_text
from .template import filled, text_of

CASES = 3000  # rows of the newest contexts
POINTS = 50  # of one series of the history
HISTORY = 3000  # points of all of them
RUNS = 200  # the newest, of which conditions, pairs and machines side by side are shown
LINES = 300  # of machines side by side
BESIDE = ("model", "data", "dtype", "precision", "operation", "target")  # what a line of them is chosen by
PICTURES = 600_000  # bytes of all pictures together
SCRIPTS = ("choices.js", "charts.js", "page.js")
RATIO = ("ratio", "ratio_low", "ratio_high", "verdict")


def page(path: Path, table: pd.DataFrame, title: str = "ganbench") -> str:
    """Return the page of a table of ``load_results`` and the files at ``path``, from which it was read.

    Raises ``UnavailableError`` without the ``report`` extra, ``UsageError`` for a table without rows.
    """
    require("report", "the page", "jinja2", "vl_convert", "altair")
    import vl_convert

    data, runs = content(path, select(table))
    data |= json.loads(kept_text(f"charts-{version('altair')}-{code_hash().hexdigest()[:16]}.json", _charts))
    data["machines"] = _machines(table, runs)
    return filled(
        "page.html",
        title=title,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        vega=kept_text(f"vega-{version('vl-convert-python')}.js", vl_convert.javascript_bundle),
        data=_inert(data),
        script="".join(map(text_of, SCRIPTS)),
        trainings=data["trainings"],
        above=ABOVE,
    )


def _finder(runs: Sequence[Run]) -> RunOf:
    """Return what finds these runs, by any name of their machine."""
    known = {(name, run.header.run_id): run for run in runs for name in machine_names(run.header)}
    return lambda machine, run_id: known.get((machine, run_id))


def _machines(table: pd.DataFrame, runs: Sequence[Run]) -> dict[str, Any]:
    """Return machines side by side, as these runs measured them: their names, and lines of what several measured."""
    rows = table[table["run_id"].isin({run.header.run_id for run in runs}) & (table["caches"] == "warm")]
    there = measured(rows, _finder(runs)) if len(rows) else []
    if len({one.machine for one in there}) < 2:
        return {"names": [], "lines": [], "notes": []}
    found = across(there, None)
    lines = [(case, threads, told) for (case, threads), told in found.attrs["told"] if len(told) > 1]
    notes = [found.attrs["title"], *found.attrs["notes"]]
    if left := len(lines[LINES:]):
        notes.append(f"{left} more lines are left out: 'ganbench report --across' has them.")
    return {
        "names": [visible(name) for name in found.attrs["shown"][1:]],
        "lines": [
            {name: visible(getattr(case, name)) for name in BESIDE}
            | {"work": visible(f"{case.operation} {case.shape}, {threads}")}
            | {"cells": {visible(name): [None if math.isnan(speed) else speed, visible(cell, "\n")]
                         for name, (speed, cell) in told.items()}}
            for case, threads, told in lines[:LINES]
        ],
        "notes": list(map(visible, notes)),
    }  # fmt: skip


def _charts() -> str:
    """Return how each chart is drawn, without its rows, as JSON."""
    from ..charts import AS, BY_NAME

    charts = {name: draw({"name": "rows"}).to_dict() for name, draw in BY_NAME.items()}
    return json.dumps({"charts": charts, "decided": AS})


def content(path: Path, found: Selection) -> tuple[dict[str, Any], list[Run]]:
    """Return all that the page knows, as JSON can hold it, and the runs of which it shows the conditions."""
    cells = chart_rows.cells(found)
    places, notes = _whole_contexts(cells), [*map(visible, found.notes)]
    if left := len(cells) - len(places):
        notes.append(f"{left:,} of {len(cells):,} rows are left out, those of the oldest runs.")
    rows, cells = found.rows.iloc[places].reset_index(drop=True), [cells[place] for place in places]
    history, thinned = chart_rows.history(found, POINTS, HISTORY)
    if thinned:
        notes.append(f"History: {thinned:,} older points are left out.")
    runs, left = _runs(path, rows)
    if left:
        notes.append(f"Conditions are shown of the {RUNS} newest runs; those of {left} others are left out.")
    run_of = _finder(runs)
    marks = fastest(rows, run_of, found.older)
    for row, word, (machine, run_id) in zip(cells, marks, rows[["machine", "run_id"]].to_numpy().tolist(), strict=True):
        row |= {"fastest": word, "limit": chart_rows.limit(row, run_of(machine, run_id))}
    told, texts = _contexts(rows, cells, found, run_of)
    machines = {row["machine"] for row in cells}
    trainings = trained.trainings(path) if path.is_dir() else []
    losses = trained.rows(trainings)
    data = {
        "keys": KEYS,
        "nothing": NOTHING,
        "looks": {theme: look(theme) for theme in THEMES},
        "band": BAND,
        "doubt": START_DOUBT,
        "cells": _columns(cells, [*chart_rows.FIELDS, "fastest", "limit"]),
        "spread": list(map(chart_rows.spread, rows["samples"], rows["median_s"])),
        "contexts": told,
        "texts": texts,
        "shown": contexts(cells).index(chart_rows.best_known(cells)[0]),
        "first": _first(rows, run_of),
        "varied": _columns([row for row in chart_rows.varied(found) if row["machine"] in machines], chart_rows.VARIED),
        "history": _columns(history, chart_rows.TIMES),
        "changes": [one._asdict() for one in provenance.changed(runs)],
        "facts": _facts(runs, provenance.facts),
        "libraries": _facts(runs, provenance.libraries),
        "trainings": _pictures(trainings),
        "losses": _columns(losses, list(losses[0]) if losses else []),
        "notes": notes,
    }
    return data, runs


def _contexts(
    rows: pd.DataFrame, cells: list[chart_rows.Row], found: Selection, run_of: RunOf
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return each context, the newest first, with all speeds, answers and means relative to each of its targets.

    A mean is over the operations on which the baseline was measured. Verdicts and answers are numbers of the texts that
    are returned, too: many are said often.
    """
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    told = {
        label: chart_rows.plain(speeds(rows, label, run_of, found.older), RATIO)
        for label in dict.fromkeys(cell["label"] for cell in cells if not cell["word"])
    }
    made = []
    for context, places in chart_rows.by_context(cells).items():
        all_here = [cells[place] | {"at": place} for place in places]
        here = [row for row in all_here if not row["word"]]
        of_case = chart_rows.by_case(here)
        baselines = {}
        for label in dict.fromkeys(row["label"] for row in here):
            at = {row["at"]: list(told[label][row["at"]].values()) for row in here}
            ratios = {(row["case"], row["target"]): at[row["at"]][0] for row in here}
            cases = [case for case, mine in of_case.items() if any(row["label"] == label for row in mine)]
            targets = dict.fromkeys(row["target"] for row in here)
            means = {target: mean(ratios.get((case, target)) for case in cases) for target in targets}
            baselines[label] = {
                "speeds": [
                    [place, *speed[:3], number(speed[3])] for place, speed in at.items() if speed[0] is not None
                ],
                "cases": cases,
                "means": {target: value for target, value in means.items() if not math.isnan(value)},
                "answers": {
                    case: number(winner(mine, label, lambda row, other: told[other][row["at"]]))
                    for case, mine in of_case.items()
                },
            }
        own = baseline_of(rows.iloc[[row["at"] for row in here or all_here]], None)
        made.append(
            {
                "values": list(map(str, context)),
                "words": visible(subtitle(context)),
                "conditions": conditions(all_here[0]),
                "lead": chart_rows.leading(all_here),
                "roofs": chart_rows.roofs(here, run_of),
                "baseline": visible(own),
                "baselines": baselines,
            }
        )
    return made, list(texts)


def _first(rows: pd.DataFrame, run_of: RunOf) -> dict[str, Any]:
    """Return, by run, which of its targets finishes a training first, and which cannot be told from it.

    Of each model it is the newest run.
    """
    found, code = {}, code_hash()
    whole = rows[(rows["operation"] == ITERATION) & (rows["status"] == "ok")]
    newest = whole[has_time(whole)].sort_values("timestamp", kind="stable").drop_duplicates(WORK, keep="last")
    for machine, run_id in newest[["machine", "run_id"]].drop_duplicates().itertuples(index=False):
        if (run := run_of(machine, run_id)) is not None:
            taking_part, _, control = candidates(run, whole[whole["run_id"] == run_id])
            taking_part = [one for one in taking_part if one.copies]  # none where a table was changed by hand
            found[run.header.run_id] = kept_outlook(taking_part, control, code) if taking_part else []
    return found


def _whole_contexts(cells: list[chart_rows.Row]) -> list[int]:
    """Return the places of the rows of as many contexts, the newest first, as a page can hold, and so of their rows."""
    kept: list[int] = []
    for places in chart_rows.by_context(cells).values():
        newest = sorted(places, key=lambda place: cells[place]["timestamp"] or "", reverse=True)
        kept += sorted(newest[: CASES - len(kept)])
    return kept


def _runs(path: Path, rows: pd.DataFrame) -> tuple[list[Run], int]:
    """Return the newest runs of which the page shows rows, and how many more there are."""
    run_of = runs_below(path)
    names = rows.loc[rows["source"] == "compare", ["run_id", "machine"]].drop_duplicates().sort_values("run_id")
    found = [run_of(machine, run_id) for run_id, machine in names[-RUNS:].itertuples(index=False)]
    return [run for run in found if run is not None], len(names[:-RUNS])


def _facts(runs: Sequence[Run], told: Callable[[Run], list[tuple[str, str]]]) -> dict[str, Any]:
    """Return what is told of each run, name by name."""
    rows = [{"run_id": run.header.run_id, "name": name, "value": value} for run in runs for name, value in told(run)]
    return _columns(rows, ["run_id", "name", "value"])


def _pictures(trainings: Sequence[trained.Trained]) -> list[dict[str, str]]:
    """Return the names of trainings with their pictures, as many as a page can hold."""
    left, shown = PICTURES, []
    for one in trainings:
        source = ""
        if one.picture is not None and (size := one.picture.stat().st_size) <= left:
            left -= size
            source = "data:image/png;base64," + base64.b64encode(one.picture.read_bytes()).decode()
        shown.append({"name": one.name, "title": one.title, "picture": source})
    return shown


def _columns(rows: Sequence[chart_rows.Row], names: Sequence[str]) -> dict[str, Any]:
    """Return rows with each name once, and each text once: in a row stands its number among the texts of its column.

    Of other numbers, as many digits as anybody can tell apart.
    """
    words: dict[str, dict[str, int]] = {name: {} for name in names}

    def packed(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return words[name].setdefault(value, len(words[name]))
        return digits(value, 7) if isinstance(value, float) else value

    packed_rows = [[packed(name, row[name]) for name in names] for row in rows]
    return {"names": list(names), "words": [list(words[name]) for name in names], "rows": packed_rows}


def _inert(data: dict[str, Any]) -> str:
    """Return JSON that can stand in a script element: nothing in it ends that element or begins another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write(path: Path, table: pd.DataFrame, output: Path) -> int:
    """Write the page to ``output``; returns its bytes."""
    with collector_off(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the files were said when the table was read
        text = page(path, table)
    return output.write_bytes(text.encode())
