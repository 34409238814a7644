"""A sweep made readable: a table for each operation, and where one target overtakes another."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..results.run import Run, Several
from ..results.statistics import BAND
from ..results.table import run_table
from . import several
from .formats import as_json, data, records
from .relative import verdict
from .table import SURE, UNSURE, heading, marks, time
from .text import PAPER, Part, Screen, document

COLUMNS = (
    "sweep value operation target status reason median_s ci_low_s ci_high_s "
    "ratio ratio_low ratio_high verdict detectable run_id"
).split()
SIDES = {"faster": 1, "slower": -1}


class Crossing(NamedTuple):
    """``winner`` is surely slower than ``loser`` at ``low`` and surely faster at ``high``."""

    operation: str
    winner: str
    loser: str
    low: int
    high: int


def tidy(swept: Several[int]) -> pd.DataFrame:
    """Return one row per value, operation and target, with ``COLUMNS``; what failed has its reason."""
    return several.rows(swept, COLUMNS, "value").assign(sweep=swept.variable)


def brackets(values: Sequence[int], sides: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (low, high, side at high) of each change between neighbouring values that are decided.

    ``sides`` are 1, -1, or 0 where a value is undecided: such values lie inside a bracket, never at its ends.
    """
    decided = [(value, side) for value, side in zip(values, sides, strict=True) if side]
    return [(low, high, after) for (low, before), (high, after) in itertools.pairwise(decided) if before != after]


def crossings(swept: Several[int]) -> list[Crossing]:
    """Return where one target overtakes another, in rising order: between values at which each is surely faster."""
    runs = [(point.value, point.run) for point in swept.points if point.run is not None]
    found = []
    for operation in swept.operations:
        for one, other in itertools.combinations(swept.targets, 2):
            sides = [side(run, operation, one, other) for _, run in runs]
            for low, high, after in brackets([value for value, _ in runs], sides):
                winner, loser = (other, one) if after > 0 else (one, other)
                found.append(Crossing(operation, winner, loser, low, high))
    return found


def side(run: Run, operation: str, one: str, other: str) -> int:
    """Return 1 where ``other`` is surely faster than ``one`` in a run, -1 where slower, 0 where undecided."""
    found = verdict(run, operation, other, one)
    return 0 if found is None else SIDES.get(found.outcome, 0)


def sentences(swept: Several[int]) -> list[str]:
    """Return each crossing in words, and which operations have none that is sure."""
    found = crossings(swept)
    said = [
        f"{c.operation}: {c.winner} overtakes {c.loser} between {swept.variable} {c.low} and {c.high}" for c in found
    ]
    without = [name for name in swept.operations if name not in {c.operation for c in found}]
    if without and len(swept.targets) > 1:
        said.append(f"no target surely overtakes another on {', '.join(without)}")
    return said


def render(swept: Several[int], form: str, screen: Screen = PAPER) -> str:
    """Return a sweep as ``table``, ``markdown``, ``csv`` or ``json``."""
    table = tidy(swept)
    if form == "csv":
        return data(table, form)
    if form == "json":
        values = [*(point.value for point in swept.points), *swept.left]
        whole = {"sweep": swept.variable, "values": values, "rows": records(table)}
        return as_json(whole | {"crossings": [crossing._asdict() for crossing in crossings(swept)]})
    runs = {point.value: point.run for point in swept.points if point.run is not None}
    stars = {(value, *case): mark for value, run in runs.items() for case, mark in marks(run, run_table(run)).items()}
    kept = [f"runs by {swept.variable}: {several.runs_named(swept)}"] * bool(runs)
    notes = [*sentences(swept), *_reasons(table), *kept]
    parts = [Part(pivot(table, name, stars), repeated=1) for name in dict.fromkeys(table["operation"])]
    return document(_title(swept), parts, [*notes, _legend(swept)], form, screen)


def pivot(table: pd.DataFrame, operation: str, stars: Mapping[tuple[int, str, str], str]) -> pd.DataFrame:
    """Return one operation as text: a row per value, a column per target, time and verdict in each cell."""
    mine = table[table["operation"] == operation]
    first = f"{operation} by {mine['sweep'].iloc[0]}"
    lines: dict[Any, dict[str, str]] = {}
    for value, rows in mine.groupby("value", sort=False):
        lines[value] = {first: str(value)}
        for _, row in rows.iterrows():
            lines[value][row["target"]] = _cell(row, stars.get((row["value"], operation, row["target"]), ""))
    return pd.DataFrame(lines.values(), columns=[first, *dict.fromkeys(mine["target"])]).fillna("")


def _cell(row: "pd.Series[Any]", mark: str) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    word = "" if pd.isna(row["verdict"]) else str(row["verdict"])
    speed = "" if math.isnan(row["ratio"]) or word == "baseline" else f"{row['ratio']:.2f} "
    return f"{f'{time(row)} {mark}'.rstrip()}\n{speed}{word}".strip()


def _title(swept: Several[int]) -> str:
    """Return which values were swept, and the model, machine and rigor of the first run that there is."""
    what = f"{swept.variable} {', '.join(str(point.value) for point in swept.points)}"
    first = next((point.run.header for point in swept.points if point.run is not None), None)
    return what if first is None else f"{what}; the first: {heading(first)}"


def _reasons(table: pd.DataFrame) -> list[str]:
    """Return why something has no time, each reason once with the values and targets that it is of."""
    failed = table[table["status"] != "ok"]
    return [
        f"{', '.join(dict.fromkeys(rows['target']))} at {rows['sweep'].iloc[0]} "
        f"{', '.join(dict.fromkeys(map(str, rows['value'])))}: {status}: {reason}"
        for (status, reason), rows in failed.groupby(["status", "reason"], sort=False)
    ]


def _legend(swept: Several[int]) -> str:
    return (
        f"in a cell: time ± half its 95 % interval; speed relative to {swept.baseline}, more than 1 is "
        f"faster; within {BAND:.0%} is the same. {SURE} {UNSURE} 'A overtakes B' is said where B is surely faster at "
        "the lower value and A at the higher one; the values between them are undecided."
    )
