"""What ingredients cost: the time of each variant of a run as a multiple of the time of the run without it."""

import math
from typing import Any

import pandas as pd

from ..results.run import Priced, Run
from ..results.statistics import BAND, Estimate, Verdict, judge, level, speed_ratio
from ..results.table import run_table
from .formats import as_json, data, records
from .table import heading, time, verdict
from .text import PAPER, Part, Screen, document

COLUMNS = (
    "operation target variant status reason median_s ci_low_s ci_high_s "
    "price price_low price_high verdict detectable rounds run_id"
).split()
NUMBERS = [name for name in COLUMNS if name.endswith("_s") or name.startswith(("price", "detectable", "rounds"))]
LEGEND = (
    "price: time with this change / time of the base [95 % interval]. The runs took turns, round by round, and each "
    f"turn gives one ratio. same: within {BAND:.0%}. undecided (n%): too noisy; only differences of at least n% "
    "are detectable."
)


def said_of(base: Run, other: Run, operation: str, target: str) -> Verdict | None:
    """Return the speed of a case in one run relative to another one that took turns with it; None without rounds."""
    before, after = (run.visits(operation, target) for run in (base, other))
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    return judge(
        speed_ratio(*([level(run[number]) for number in shared] for run in (before, after))), len(shared), None
    )


def tidy(priced: Priced) -> pd.DataFrame:
    """Return one row per operation, target and variant, with ``COLUMNS``; what failed has its reason."""
    rows: list[dict[Any, Any]] = []
    first = priced.points[0]
    for point in priced.points:
        shared = {"variant": point.value}
        if point.run is None:
            blank = shared | {"status": point.status, "reason": point.reason}
            rows += [blank | {"operation": o, "target": t} for o in priced.operations for t in priced.targets]
            continue
        table = run_table(point.run)
        for row in table[table["operation"].isin(priced.operations)].to_dict("records"):
            kept = {name: row[name] for name in COLUMNS if name in row} | shared
            found = first.run and said_of(first.run, point.run, row["operation"], row["target"])
            rows.append(kept | (_price(found, point is first) if found else {"verdict": None, "detectable": math.nan}))
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, "float64"))
    place = {name: number for number, name in enumerate((*priced.operations, *priced.targets))}
    return table.sort_values(
        ["operation", "target"], key=lambda names: names.map(place), kind="stable", ignore_index=True
    )


def _price(found: Verdict, base: bool) -> dict[str, Any]:
    """Return the price in a speed relative to the base."""
    speed = found.ratio
    if base:
        return {"price": 1.0, "verdict": "base", "detectable": math.nan}
    numbers = {"price": 1 / speed.value, "price_low": 1 / speed.high, "price_high": 1 / speed.low}
    return numbers | {"verdict": found.outcome, "detectable": found.detectable}


def render(priced: Priced, form: str, screen: Screen = PAPER) -> str:
    """Return a price list as ``table``, ``markdown``, ``csv`` or ``json``."""
    table = tidy(priced)
    if form == "csv":
        return data(table, form)
    if form == "json":
        return as_json({"variants": [point.value for point in priced.points], "rows": records(table)})
    base = priced.points[0].run
    title = "prices" if base is None else f"prices relative to {heading(base.header)}"
    parts = [_part(table, name) for name in priced.operations]
    kept = [f"{point.value} {point.run.header.run_id}" for point in priced.points if point.run is not None]
    return document(title, parts, [LEGEND, f"runs: {', '.join(kept)}"], form, screen)


def _part(table: pd.DataFrame, operation: str) -> Part:
    mine = table[table["operation"] == operation]
    lines = [[row["target"], row["variant"], *_cells(row)] for row in mine.to_dict("records")]
    shown = pd.DataFrame(lines, columns=[operation, "variant", "time", "price", "verdict"])
    return Part(shown, wraps="verdict", right=("time",), grouped=True)


def _cells(row: dict[Any, Any]) -> tuple[str, str, str]:
    if row["status"] != "ok":
        return row["status"], "", row["reason"]
    price = Estimate(row["price"], row["price_low"], row["price_high"]).shown("{:.2f}".format)
    word = "" if pd.isna(row["verdict"]) else verdict(row["verdict"], row["detectable"], int(row["rounds"]))
    return time(row), "" if math.isnan(row["price"]) else price, word
