"""The answer of a run in one sentence: which target is fastest, by how much, how sure that is, and on what."""

import pandas as pd

from ..results.case import model_label
from ..results.run import Run
from ..results.statistics import MIN_ROUNDS
from .relative import MAYBE, SURELY, fastest, verdict
from .table import conditions

ITERATION = "gan_iteration"


def answer(run: Run, table: pd.DataFrame) -> str:
    """Return who is fastest on an iteration, or on the last operation that was timed; '' where none is compared.

    ``table`` is that of ``run_table``.
    """
    timed = table[table["status"] == "ok"].assign(fastest=fastest(table, lambda *_: run))
    compared = timed[timed["fastest"] != ""]
    if compared.empty:
        return ""
    operation = ITERATION if ITERATION in set(compared["operation"]) else compared["operation"].iloc[-1]
    rows = timed[timed["operation"] == operation].sort_values("median_s")
    header = run.header
    where = f"{model_label(header.spec)}, {operation}, {conditions(header)}"
    maybe = [*rows.loc[rows["fastest"] == MAYBE, "target"]]
    if maybe:
        few = rows["rounds"].max() < MIN_ROUNDS
        more = f"it takes at least {MIN_ROUNDS} rounds" if few else "more rounds may decide it: --budget, --rigor full"
        return f"{', '.join(maybe[:-1])} or {maybe[-1]} may be fastest ({more}); {where}"
    first = rows.loc[rows["fastest"] == SURELY, "target"].iloc[0]
    other = header.baseline if first != header.baseline else rows["target"].iloc[1]
    found = verdict(run, operation, first, other)
    ratio = f": {found.ratio.shown('{:.2f}'.format).replace(' [', f' times {other} [')}" if found else ""
    return f"{first} is fastest{ratio}; {where}"
