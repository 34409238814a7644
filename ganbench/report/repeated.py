"""``ganbench compare --again``: several runs of the same work, read together."""

import math
from collections.abc import Sequence

import pandas as pd

from ..results.repeats import speeds, spread, together
from ..results.run import Run
from ..results.table import run_table
from .table import SAME, UNDECIDED, interval
from .text import PAPER, Part, Screen, document

LEGEND = (
    "together: speed relative to {baseline} over all runs [95 % interval]. One interval comes from the rounds in each "
    "run, one from the differences between the runs; the wider one is shown. confirmed: it lies outside of the band. "
    f"{SAME} {UNDECIDED}"
)


def joined(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the table of the newest run, with the speeds and verdicts that all runs show together, and their number.

    ``ratio``, ``ratio_low``, ``ratio_high`` and ``verdict`` are of all; ``runs`` is how many have the case, 1 where
    the speed is the newest run's alone. ``attrs`` has the ``speeds`` of each run and the ``spread`` between them.
    """
    table = run_table(runs[-1]).assign(runs=1)
    found = speeds(runs)
    between = spread([found])
    table.attrs |= {"speeds": found, "spread": between}
    for at, row in table.iterrows():
        several = found.get((row["operation"], row["target"]), ())
        if between is not None and len(several) > 1:
            said = together([several], between)
            names = ["ratio", "ratio_low", "ratio_high", "verdict", "runs"]
            table.loc[at, names] = [*said.ratio, said.outcome, len(several)]
    return table


def render(runs: Sequence[Run], form: str, screen: Screen = PAPER) -> str:
    """Return what several runs say together, as ``table`` or ``markdown``."""
    table = joined(runs)
    found, between = table.attrs["speeds"], table.attrs["spread"]
    lines = [
        (
            row["operation"],
            row["target"],
            ", ".join(f"{one.value:.2f}" for one in found[row["operation"], row["target"]]),
            interval(row["ratio"], row["ratio_low"], row["ratio_high"]),
            f"{row['verdict']}, confirmed" if row["verdict"] in ("faster", "slower") else row["verdict"],
        )
        for row in table[table["runs"] > 1].to_dict("records")
    ]
    shown = pd.DataFrame(lines, columns=["operation", "target", "runs", "together", "verdict"])
    ids = ", ".join(run.header.run_id for run in runs)
    notes = [LEGEND.format(baseline=runs[-1].header.baseline), f"runs: {ids}"]
    if between:
        moved = math.sqrt(between.variance)
        notes.insert(0, f"from run to run a speed changes by {moved:.1%} (standard deviation)")
    parts = [Part(shown, wraps="verdict", grouped=True)]
    return document(f"{len(runs)} runs of the same work", parts, notes, form, screen)
