"""What ingredients cost: the time of each variant of a run as a multiple of the time of the run without it."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..results.run import Run, Several
from .formats import as_json, data, records
from .relative import verdict_in_turns
from .several import rows, runs_named
from .table import SAME, UNDECIDED, heading, interval_of, time, verdict
from .text import PAPER, Part, Screen, document

COLUMNS = (
    "operation target variant status reason median_s ci_low_s ci_high_s "
    "price price_low price_high verdict detectable rounds run_id"
).split()
LEGEND = (
    "price: time with this change / time of the base [95 % interval]. The runs took turns, round by round, and each "
    f"turn gives one ratio. {SAME} {UNDECIDED}"
)


def tidy(priced: Several[str]) -> pd.DataFrame:
    """Return one row per operation, target and variant, with ``COLUMNS``; what failed has its reason."""
    found = rows(priced, COLUMNS, "variant")
    runs = {point.value: point.run for point in priced.points}
    base = next(iter(runs), "")  # it always begins first
    prices = [_price(runs[base], runs[row["variant"]], row) for row in found.to_dict("records")]
    names = [name for name in COLUMNS if name.startswith("price")]
    found = found.assign(**pd.DataFrame(prices, columns=[*names, "verdict", "detectable"], index=found.index))
    place = {name: number for number, name in enumerate((*priced.operations, *priced.targets))}
    found = found.sort_values(
        ["operation", "target"], key=lambda names: names.map(place), kind="stable", ignore_index=True
    )
    return found.astype(dict.fromkeys(names, "float64"))


def _price(base: Run | None, other: Run | None, row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return the price of a row with its interval, the verdict and what it could detect."""
    if other is base and row["status"] == "ok":
        return 1.0, math.nan, math.nan, "base", math.nan
    said = verdict_in_turns(base, other, row["operation"], row["target"]) if base and other else None
    if said is None:
        return math.nan, math.nan, math.nan, None, math.nan
    speed = said.ratio
    return 1 / speed.value, 1 / speed.high, 1 / speed.low, said.outcome, said.detectable


def render(priced: Several[str], form: str, screen: Screen = PAPER) -> str:
    """Return a price list as ``table``, ``markdown``, ``csv`` or ``json``."""
    table = tidy(priced)
    if form == "csv":
        return data(table, form)
    if form == "json":
        return as_json({"variants": [point.value for point in priced.points], "rows": records(table)})
    base = next((point.run for point in priced.points), None)
    title = "prices" if base is None else f"prices relative to {heading(base.header)}"
    parts = [_part(table, name) for name in priced.operations]
    return document(title, parts, [LEGEND, f"runs: {runs_named(priced)}"], form, screen)


def _part(table: pd.DataFrame, operation: str) -> Part:
    mine = table[table["operation"] == operation]
    lines = [[row["target"], row["variant"], *_cells(row)] for row in mine.to_dict("records")]
    shown = pd.DataFrame(lines, columns=[operation, "variant", "time", "price", "verdict"])
    return Part(shown, wraps="verdict", right=("time",), grouped=True)


def _cells(row: dict[Any, Any]) -> tuple[str, str, str]:
    if row["status"] != "ok":
        return row["status"], "", row["reason"]
    word = "" if pd.isna(row["verdict"]) else verdict(row["verdict"], row["detectable"], int(row["rounds"]))
    return time(row), interval_of(row, "price"), word
