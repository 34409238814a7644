"""One page of HTML with all results below a folder: it needs no network, and no file beside it.

Python decides what is known; ``page.js`` shows the reader's choice of it. Every text of a result is data there.
"""

import base64
import contextlib
import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import StorageError, UnavailableError
from ...results.case import KEYS
from ...results.pairs import pairs
from ...results.run import Run, open_run, run_files
from ...results.statistics import BAND
from ...results.store import cache_folder, replace_file
from .. import THEMES, chart_rows, provenance, trained
from ..across import across, parts
from ..escape import visible
from ..measured import measured
from ..picture import NOTHING, look
from ..recommendation import START_DOUBT
from ..selection import Selection, select

CASES = 3000  # rows of the newest contexts
POINTS = 50  # of one series of the history
HISTORY = 3000  # points of all of them
RUNS = 200  # the newest, of which conditions, pairs and machines side by side are shown
LINES = 300  # of machines side by side
PICTURES = 600_000  # bytes of all pictures together
PAIRS = "run_id operation target baseline ratio ratio_low ratio_high verdict detectable".split()


def page(path: Path, table: pd.DataFrame, title: str = "ganbench") -> str:
    """Return the page of a table of ``load_results`` and the files at ``path``, from which it was read.

    Raises ``UnavailableError`` without the ``report`` extra, ``UsageError`` for a table without rows.
    """
    try:
        import jinja2
        import vl_convert  # noqa: F401 (for the error)

        from ..charts import BY_NAME
    except ImportError as error:
        raise UnavailableError(f'the page needs {error.name}: pip install "ganbench[report]"') from error
    found = select(table)
    data, runs = content(path, found)
    data["charts"] = {name: draw({"name": "rows"}).to_dict() for name, draw in BY_NAME.items()}
    files = resources.files(__name__)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((files / "page.html").read_text("utf-8")).render(
        title=title,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        style=(files / "page.css").read_text("utf-8"),
        vega=_scripts(),
        data=_inert(data),
        script=(files / "page.js").read_text("utf-8"),
        trainings=data["trainings"],
        hardware=_hardware(table, runs),
    )


def _hardware(table: pd.DataFrame, runs: Sequence[Run]) -> dict[str, Any]:
    """Return machines side by side, in words, as these runs measured them; nothing where there is one machine."""
    known = {(run.header.machine, run.header.run_id): run for run in runs}
    rows = table[table["run_id"].isin({run_id for _, run_id in known}) & (table["caches"] == "warm")]
    there = measured(rows, lambda machine, run_id: known.get((machine, run_id))) if len(rows) else []
    if len({one.machine for one in there}) < 2:
        return {"machines": []}
    found = across(there, None)
    notes, left, lines = list(found.attrs["notes"]), LINES, []
    for heading, of in parts(found).items():
        lines += [(heading, of[:left])] if left > 0 else []
        left -= len(of)
    if left < 0:
        notes.append(f"{-left} more lines are left out: 'ganbench report --across' has them.")
    return {"machines": found.attrs["machines"], "title": found.attrs["title"], "parts": lines, "notes": notes}


def _scripts() -> str:
    """Return Vega and what draws with it, as one script; making it takes seconds, so it is kept."""
    import vl_convert

    place = None
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
        place = cache_folder() / f"vega-{version('vl-convert-python')}.js"
        return place.read_text("utf-8")
    made: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    if place is not None:
        with contextlib.suppress(OSError, StorageError):
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, lambda file: file.write(made.encode()))
    return made


def content(path: Path, found: Selection) -> tuple[dict[str, Any], list[Run]]:
    """Return all that the page knows, as JSON can hold it, and the runs of which it shows the conditions."""
    cells, notes = _whole_contexts(chart_rows.cells(found))
    history, thinned = chart_rows.history(found, POINTS)
    if len(history) > HISTORY:
        thinned, history = thinned + len(history) - HISTORY, _newest(history, HISTORY)
    if thinned:
        notes.append(f"History: {thinned:,} older points are left out.")
    machines = {row["machine"] for row in cells}
    runs, left = _runs(path, {row["run_id"] for row in cells})
    if left:
        notes.append(f"Conditions are shown of the {RUNS} newest runs; those of {left} others are left out.")
    pictures, trainings = PICTURES, trained.trainings(path) if path.is_dir() else []
    shown = []
    for one in trainings:
        source = ""
        if one.picture is not None and (size := one.picture.stat().st_size) <= pictures:
            pictures -= size
            source = "data:image/png;base64," + base64.b64encode(one.picture.read_bytes()).decode()
        shown.append({"name": one.name, "title": one.title, "picture": source})
    data = {
        "keys": KEYS,
        "nothing": NOTHING,
        "looks": {theme: look(theme) for theme in THEMES},
        "band": BAND,
        "doubt": START_DOUBT,
        "cells": _columns(cells, chart_rows.FIELDS),
        "pairs": _columns([pair for run in runs for pair in _pairs(run)], PAIRS),
        "varied": _columns([row for row in chart_rows.varied(found) if row["machine"] in machines], chart_rows.VARIED),
        "history": _columns(history, chart_rows.TIMES),
        "changes": [one._asdict() for one in provenance.changed(runs)],
        "runs": [{"run_id": run.header.run_id, "facts": provenance.facts(run)} for run in runs],
        "trainings": shown,
        "losses": trained.rows(trainings),
        "notes": [*map(visible, found.notes), *notes],
    }
    return data, runs


def _whole_contexts(rows: list[chart_rows.Row]) -> tuple[list[chart_rows.Row], list[str]]:
    """Return the rows of as many contexts, the newest first, as a page can hold, and what is missing."""
    kept: list[chart_rows.Row] = []
    by_context: dict[Any, list[chart_rows.Row]] = {}
    for row in rows:
        by_context.setdefault(tuple(row[name] for name in KEYS), []).append(row)
    for context in chart_rows.contexts(rows):
        kept += _newest(by_context[context], CASES - len(kept))
    left = len(rows) - len(kept)
    return kept, [f"{left:,} of {len(rows):,} rows are left out, those of the oldest runs."] if left else []


def _newest(rows: list[chart_rows.Row], most: int) -> list[chart_rows.Row]:
    """Return the newest ``most`` rows, in the order in which they stood."""
    if len(rows) <= most:
        return rows
    chosen = sorted(range(len(rows)), key=lambda place: rows[place]["timestamp"] or "", reverse=True)[:most]
    return [rows[place] for place in sorted(chosen)]


def _runs(path: Path, shown: set[str]) -> tuple[list[Run], int]:
    """Return the newest runs of which the page shows rows, and how many more there are."""
    files = [path] if path.is_file() else run_files(path)
    files = [file for file in files if file.stem in shown] if path.is_dir() else files
    runs = []
    for file in files[-RUNS:]:
        try:
            runs.append(open_run(file))
        except StorageError:  # said when the table was read
            continue
    return runs, len(files[:-RUNS])


def _pairs(run: Run) -> list[chart_rows.Row]:
    rows = [
        (run.header.run_id, one.operation, one.target, one.baseline, *one.verdict.ratio, one.verdict.outcome,
         one.verdict.detectable)
        for one in pairs(run)
    ]  # fmt: skip
    return chart_rows.plain(pd.DataFrame(rows, columns=PAIRS), PAIRS)


def _columns(rows: Sequence[chart_rows.Row], names: Sequence[str]) -> dict[str, Any]:
    """Return rows with each name once: half of the bytes."""
    return {"names": list(names), "rows": [[row[name] for name in names] for row in rows]}


def _inert(data: dict[str, Any]) -> str:
    """Return JSON that can stand in a script element: nothing in it ends that element or begins another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def write(path: Path, table: pd.DataFrame, output: Path) -> int:
    """Write the page to ``output``; returns its bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the files were said when the table was read
        text = page(path, table)
    return output.write_bytes(text.encode())
