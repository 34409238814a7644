"""Runs that counted instructions instead of seconds: whether a mode changed, and never which framework is faster."""

from collections.abc import Sequence
from math import nan
from statistics import median

import pandas as pd

from ..errors import UsageError
from ..results.columns import unit_of
from ..results.run import Run
from ..results.table import run_table
from .choices import RUN_FORMATS
from .formats import data
from .table import heading, text
from .text import PAPER, Part, Screen, document

PURPOSE = "Counts say whether a mode changed between two versions. They do not say which framework is faster."
BAND = 0.01  # counts of the same program in other folders and environments lay up to 0.8 % apart
LEGEND = (
    f"A, B: instructions of one iteration. same: the change is at most {BAND:.0%}, or no larger than the difference "
    "between its counts."
)
COLUMNS = ["a_instructions", "b_instructions", "change", "verdict", "reason"]


def render(run: Run, form: str, screen: Screen = PAPER) -> str:
    """Return a run that counted in one of ``RUN_FORMATS``, its rows as they were asked for; raises ``UsageError``."""
    if form not in RUN_FORMATS:
        raise UsageError(f"{form} shows times, but this run counted instructions; valid: {', '.join(RUN_FORMATS)}")
    table = run_table(run)
    if form in ("csv", "json"):
        return data(table.drop(columns="samples"), form)
    lines, reasons = [], []
    for row in table.to_dict("records"):
        counted, apart = row["status"] == "ok", f"{row['instructions_spread']:.3%}"
        cells = (_shown(row["instructions"]), apart) if counted else (row["status"], "")
        lines.append((row["operation"], row["target"], *cells))
        reasons += [] if counted else [f"{row['target']}: {row['status']}: {row['reason']}"]
    names = ["operation", "target", "instructions", "counts apart"]
    part = Part(pd.DataFrame(lines, columns=names), right=names[2:], grouped=True)
    return document(heading(run.header), [part], [*dict.fromkeys(reasons), PURPOSE], form, screen)


def changes(runs: Sequence[Run], shared: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return how many instructions each case of ``shared`` takes in two runs, and whether that changed: ``COLUMNS``.

    Counts of the same number had the same inputs, so they are compared with one another.
    """
    cases = [{(one.operation, one.target): one for one in run.measurements} for run in runs]
    rows = []
    for case in shared:
        a, b = (found[case] for found in cases)
        missing = [(name, one) for name, one in (("A", a), ("B", b)) if not one.instructions]
        reason = "; ".join(f"{one.status} in {name}: {one.reason}" for name, one in missing)
        each = [after / before - 1 for before, after in zip(a.instructions, b.instructions, strict=False)] or [nan]
        change, near = median(each), max(BAND, max(each) - min(each))
        verdict = "" if missing else "same" if abs(change) <= near else "more" if change > 0 else "fewer"
        rows.append((*(median(one.instructions or [nan]) for one in (a, b)), change, verdict, reason))
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(shared, names=["operation", "target"]), columns=COLUMNS)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``changes`` as text."""
    lines = [
        (*case, _shown(a), _shown(b), f"{change:+.2%}" if verdict else "", verdict or "see below")
        for case, a, b, change, verdict, _ in table.itertuples()
    ]
    return pd.DataFrame(lines, columns=["operation", "target", "A", "B", "change", "instructions"])


def _shown(count: float) -> str:
    return text(count, unit_of("instructions"))
