"""The tables that people want of results, as DataFrames: ratios, scaling, history; and a Styler that marks the best.

Each takes the DataFrame of ``ganbench.load_results``. What differs in one of ``KEYS`` (``ganbench.results.case``) or
in its framework's version is never pooled: it becomes a level of the index, or a name behind the target. Where a
number is missing its status stands, so a column may hold both. ``attrs`` has ``title``, ``notes``, ``units`` (of each
column), ``best`` (``"max"``, ``"min"`` or ``""``) and ``contexts`` (the values of the first levels of the index, the
newest first).
"""

import functools
import html
import math
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import UsageError, plural, require, unknown
from ..results.case import without
from ..results.run import RunOf
from .relative import DERIVED, MEAN, baseline_of, mean, no_run, relative
from .repeated import commits, confirmed
from .selection import Selection, contexts, instead, select
from .table import is_number, text

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

SIZES = ("batch", "critic_steps")  # the named parts of a shape that a pivot may have in its columns
VARIABLES = (*SIZES, "threads", "dtype")
NOT_DECIDED = ("undecided", "control failed")
Lines = dict[tuple[Any, ...], dict[Any, Any]]  # names of a row -> its cells


def ratio_matrix(df: pd.DataFrame, baseline: str | None = None, run_of: RunOf = no_run) -> pd.DataFrame:
    """Return speed relative to ``baseline``, operation × target, and the geometric mean of each context.

    Without ``baseline``, that of the newest run. A run measured against it gives its own paired ratio, and so does one
    that ``run_of`` finds (``ganbench.results.run.runs_below``); otherwise medians are divided, within one run where
    possible, and a note says how often. A target that lacks some operation of its context has no mean: it would be one
    over other operations.

    Raises ``UsageError`` for no rows, or a baseline that is not among the targets.
    """
    found = select(df)
    index = found.index
    baseline = baseline_of(found.rows, baseline)
    rows = relative(found, baseline, run_of).rows
    lines: Lines = {}
    targets = dict.fromkeys(rows.loc[rows["label"] == baseline, "target"])
    for row in rows.to_dict("records"):
        value = instead(row) or (f"no {baseline}" if math.isnan(row["ratio"]) else row["ratio"])
        lines.setdefault(tuple(row[name] for name in index), {})[row["target"]] = value
        targets.setdefault(row["target"])
    notes = [*found.notes, *_origin(rows)]
    undecided, derived = (int(rows["verdict"].isin(words).sum()) for words in (NOT_DECIDED, [DERIVED]))
    if undecided:
        notes.append(f"{undecided} of the ratios undecided: 'ganbench results show' has the intervals and the reasons")
    if derived:
        notes.append(
            f"{plural(derived, 'ratio')} derived from medians, not paired round by round: what was not measured "
            f"against {baseline}"
        )
    table = _framed(_with_means(lines, len(found.keys), list(targets)), index, list(targets))
    return _described(table, f"speed relative to {baseline} (more than 1 is faster)", found, notes, "ratio", "max")


def scaling(df: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return median seconds of every operation and target over ``by``, one of ``VARIABLES``.

    Of a shape all but the variable tells rows apart. Raises ``UsageError`` for another variable, or where nothing has
    it.
    """
    if by not in VARIABLES:
        raise unknown("variable", by, VARIABLES)
    notes: list[str] = []
    if by in SIZES:
        df, notes = _by_size(df, by)
    found = select(df, free=by, more=(by,), full=False)
    index = [*found.index, "target"]
    lines: Lines = {}
    for row in found.rows.to_dict("records"):
        lines.setdefault(tuple(row[name] for name in index), {})[row[by]] = instead(row) or row["median_s"]
    columns = sorted(found.rows[by].unique())
    notes += [*found.notes, *_origin(found.rows)]
    if len(columns) == 1:
        how = f"sweep {by}=1,2,5" if by == "critic_steps" else by
        notes.append(f"{by} {columns[0]} is the only value measured: 'ganbench compare --{how}' measures another")
    table = _framed(lines, index, columns)
    table.columns.name = by
    return _described(table, f"median time by {by}", found, notes, "seconds", "min")


def history(df: pd.DataFrame) -> pd.DataFrame:
    """Return the median of every case by commit, in the order in which commits were first measured.

    ``change`` is relative to the commit before: 0.1 is 10 % slower. It compares different sittings. So ``confirmed``
    has a verdict only where both commits were measured in two runs or more, by the wider of what rounds and runs differ
    by. A ``+`` marks a tree that differed from its commit.
    """
    named = df.assign(commit=commits(df))
    began = named.groupby("commit")["timestamp"].transform("min")
    found = select(named.assign(began=began), more=("commit",), full=False)
    index = [*found.index, "target"]
    said = confirmed(found.older, index)
    lines: Lines = {}
    for names, series in found.rows.groupby(index, sort=False):
        before = None
        for row in series.sort_values("began", kind="stable").to_dict("records"):
            words, median = instead(row), row["median_s"]
            line = {"measured": row["timestamp"], "median_s": words or median}
            if not words:
                line |= {"ci_low_s": row["ci_low_s"], "ci_high_s": row["ci_high_s"]}
                line["change"] = math.nan if before is None else median / before - 1
                line["confirmed"] = said.get((*names, row["commit"]), "")
                before = median
            lines[*names, row["commit"]] = line
    table = _framed(lines, [*index, "commit"], ["measured", "median_s", "ci_low_s", "ci_high_s", "change", "confirmed"])
    notes = [*found.notes, *["intervals of asv are of 99 %, those of compare of 95 %"] * ("asv" in set(df["source"]))]
    table = _described(table, "median time by commit", found, notes, "seconds", "")
    table.attrs["units"] |= {"measured": "time", "change": "change"}
    return table


def style(df: pd.DataFrame) -> "Styler":
    """Return a pivot as a pandas Styler: readable units, the best of each row in bold, statuses in grey.

    Raises ``UnavailableError`` where Jinja2 is missing, through which pandas writes it.
    """
    require("report", "a Styler", "jinja2")
    styler = df.style
    units, best = df.attrs.get("units", {}), df.attrs.get("best", "")
    for column in df.columns:
        unit = units.get(str(column), "")
        # Results may be other people's, and a Styler does not escape by itself.
        styler = styler.format(functools.partial(_escaped, unit=unit), subset=[column])
    styler = styler.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    styler = styler.apply(_emphasis, axis=1, best=best)
    said = [df.attrs.get("title", ""), *df.attrs.get("notes", [])]
    return styler.set_caption("<br>".join(html.escape(part) for part in said if part))


def _escaped(value: Any, unit: str) -> str:
    return html.escape(text(value, unit))


def _emphasis(row: "pd.Series[Any]", best: str) -> list[str]:
    numbers = [value for value in row if is_number(value)]
    winner = {"max": max, "min": min}[best](numbers) if best and len(numbers) > 1 else None
    return [
        "font-weight: bold" if is_number(value) and value == winner else "color: grey" * isinstance(value, str)
        for value in row
    ]


def _with_means(lines: Lines, keys: int, targets: list[str]) -> Lines:
    """Return the lines of each context, which its first ``keys`` names tell apart, followed by their means."""
    contexts: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for names in lines:
        contexts.setdefault(names[:keys], []).append(names)
    grown: Lines = {}
    for context, members in contexts.items():
        grown |= {names: lines[names] for names in members}
        blank = [""] * (len(members[0]) - keys - 1)
        grown[*context, MEAN, *blank] = {target: _mean([lines[m].get(target) for m in members]) for target in targets}
    return grown


def _mean(values: list[Any]) -> Any:
    numbers = [value for value in values if is_number(value)]
    if all(value is None for value in values):
        return math.nan
    return mean(numbers) if len(numbers) == len(values) else f"{len(numbers)} of {len(values)}"


def _by_size(df: pd.DataFrame, by: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows whose shape has such a part, without it in their shape, and a note on the others."""
    there = df[by].notna() & df["shape"].notna()
    if not there.any():
        raise UsageError(f"none of these operations has a {by}: name others with --ops, or measure a model that has it")
    names = sorted(set(df.loc[~there, "operation"]))
    notes = [f"left out, because they have no {by}: {', '.join(names)}"] if names else []
    rows = df[there]
    return rows.assign(shape=[without(row, by) for row in rows.to_dict("records")], **{by: rows[by].astype(int)}), notes


def _origin(rows: pd.DataFrame) -> list[str]:
    """Return a note on when these rows were measured, where that was not in one run."""
    runs, times = rows["run_id"].nunique(), rows["timestamp"].dropna()
    if runs < 2 or times.empty:
        return []
    return [f"from {runs} runs, {times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M} UTC"]


def _framed(lines: Lines, index: list[str], columns: Iterable[Hashable]) -> pd.DataFrame:
    """Return lines as a DataFrame; a column is numeric where it holds nothing but numbers."""
    names = pd.MultiIndex.from_tuples(list(lines), names=index)
    data = {name: [line.get(name, math.nan) for line in lines.values()] for name in columns}
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in data.items()}).infer_objects()
    table.index = names if len(index) > 1 else names.get_level_values(0)
    return table


def _described(
    table: pd.DataFrame, what: str, found: Selection, notes: list[str], unit: str, best: str
) -> pd.DataFrame:
    table.attrs = {
        "title": ": ".join(part for part in (what, found.title) if part),
        "notes": list(dict.fromkeys(notes)),
        "units": {str(column): unit for column in table.columns},
        "best": best,
        "contexts": contexts(found.rows.to_dict("records"), found.keys),
    }
    return table
