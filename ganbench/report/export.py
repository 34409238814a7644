"""A run written in the format that was asked for."""

import pandas as pd
from rich.text import Text

from ..results.run import Run
from ..results.table import run_table
from . import exchange, memory
from .energy import energy_table
from .formats import data
from .intervals import drawing
from .notes import details, remarks
from .relative import SURELY
from .start import QUEUE_LEGEND, queue_table, start_table
from .table import INTERVALS, LEGEND, MARKS, NUMBERS, STYLES, heading, summary
from .text import PAPER, Part, Screen, document, widths


def render(run: Run, form: str, with_details: bool = False, screen: Screen = PAPER) -> str:
    """Return a run in one of ``RUN_FORMATS`` or ``EXCHANGE_FORMATS``.

    The table shows what is asked; ``with_details`` adds how targets start, what memory they take, ceilings, floor and
    disturbance. The other formats always have them. Intervals are drawn where ``screen`` has room for them.
    """
    if form in exchange.FORMATS:
        return exchange.FORMATS[form](run)
    table = run_table(run)
    if form in ("csv", "json"):
        return data(table.drop(columns="samples") if form == "csv" else table, form)
    title, shown, legend = heading(run.header), summary(run, table), list(LEGEND)
    further = _further(table) if with_details or form == "markdown" else []
    notes = remarks(run, table)
    if with_details or form == "markdown":
        notes += details(run, table)
        legend += [] if memory.memory_table(table).empty else [memory.LEGEND]
        legend += [] if queue_table(table).empty else [QUEUE_LEGEND]
    parts = [Part(one, wraps=str(one.columns[-1])) for one in further]
    if form == "markdown":
        return document(title, [Part(shown), *parts], [*notes, *legend], form)
    reasons: dict[str, None] = {}  # each once, in order
    for row, (status, reason) in enumerate(table[["status", "reason"]].itertuples(index=False)):
        if status != "ok":
            reasons[f"{shown['target'].iloc[row]}: {status}: {reason}"] = None
            shown.loc[row, "verdict"] = "see below"
    drawn = drawing(table, screen.width - sum(widths(shown).values()) - 1)
    if len(drawn):
        shown.insert(list(shown).index("speed") + 1, drawn.name, drawn)
        legend.append(INTERVALS)
    words = table["verdict"].where(table["status"] == "ok", table["status"]).fillna("")
    lines = [_styled(line, word) for line, word in zip(shown.to_numpy().tolist(), words, strict=True)]
    first = Part(pd.DataFrame(lines, columns=shown.columns), wraps="verdict", right=NUMBERS, grouped=True)
    return document(title, [first, *parts], (*reasons, *notes, *legend), form, screen)


def _styled(line: list[str], word: str) -> list[object]:
    """Return the cells of a line in the colour of its verdict or status; the target that is fastest is bold."""
    operation, target, *cells = line
    wins = "bold " * target.endswith(f" {MARKS[SURELY]}")
    return [operation, Text(target, wins), *(Text(cell, STYLES.get(word, "")) for cell in cells)]


def _further(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the smaller tables: how targets start, what memory they take, how devices queue."""
    made = start_table(table), memory.memory_table(table), queue_table(table), energy_table(table)
    return [one for one in made if not one.empty]
