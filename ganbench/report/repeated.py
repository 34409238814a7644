"""Several runs of the same work, read together: those of ``ganbench compare --again``, and those of a commit."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..results.repeats import speeds, spread, together
from ..results.run import Run
from ..results.statistics import Estimate, Outcome
from ..results.table import run_table
from .table import SAME, UNDECIDED, interval_of
from .text import PAPER, Part, Screen, document

ESTIMATE = ("median_s", "ci_low_s", "ci_high_s")
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
            interval_of(row, "ratio"),
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


def commits(table: pd.DataFrame) -> "pd.Series[str]":
    """Return the short commit of each row; a ``+`` marks a tree that differed from it."""
    named = table["commit"].astype(object).where(table["commit"].notna(), "")
    changed = table["dirty"].fillna(False).astype(bool)
    short = [f"{commit[:8] or 'no commit'}{'+' * dirty}" for commit, dirty in zip(named, changed, strict=True)]
    return pd.Series(short, index=table.index, dtype=object)


def confirmed(rows: pd.DataFrame, index: Sequence[str]) -> dict[tuple[Any, ...], Outcome]:
    """Return what is known of the times at a commit against those at the commit before, by ``index`` and commit.

    It takes two runs or more of both. ``index`` ends with the target.
    """
    by_commit = [*index, "commit"]
    known = rows[(rows["status"] == "ok") & rows["ci_low_s"].notna()].sort_values("timestamp", kind="stable")
    several = known[known.duplicated(by_commit, keep=False)]
    runs: dict[str, dict[Any, list[Estimate]]] = {}
    of = several[by_commit].itertuples(index=False, name=None)
    for (*names, target, commit), times in zip(of, several[list(ESTIMATE)].to_numpy().tolist(), strict=True):
        runs.setdefault(commit, {}).setdefault((tuple(names), target), []).append(Estimate(*times))
    found: dict[tuple[Any, ...], Outcome] = {}
    if (between := spread(runs.values())) is None:
        return found
    began = known["commit"].map(rows.groupby("commit")["timestamp"].min())
    for case, mine in known.assign(began=began).sort_values("began", kind="stable").groupby([*index], sort=False):
        for before, after in itertools.pairwise(dict.fromkeys(mine["commit"])):
            both = [runs.get(commit, {}).get((case[:-1], case[-1]), []) for commit in (after, before)]
            if all(both):
                found[*case, after] = together(both, between).outcome
    return found
