"""``ganbench report --by machine``: do equal machines give equal results?"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..precision import titled
from ..results.case import Case
from ..results.columns import unit_of
from ..results.statistics import BAND, typical
from .difference import interval
from .measured import Measured, compared, hardware_of
from .table import time, verdict
from .text import PAPER, Part, Screen, document

POOLED = "all together"
COLUMNS = (
    "hardware model dtype precision threads operation shape target machine median_s ci_low_s ci_high_s rounds "
    "speed speed_low speed_high verdict detectable run_id"
).split()
INDEX = COLUMNS[:9]
SHOWN = ("operation", "target", "machine", "time", "speed", "verdict")
LEGEND = (
    "speed: of a machine relative to all others of its kind together, more than 1 is faster; [95 % interval of two "
    f"unpaired samples]; within {BAND:.0%} is the same. '{POOLED}' pools the rounds of all. One run of each machine "
    "cannot tell a slow machine from a bad hour: measure again what is named here before you believe it."
)


def nodes(found: Sequence[Measured]) -> pd.DataFrame:
    """Return a row for each case and machine of which there are equals, with ``COLUMNS``, and one for all together.

    Title and notes are in ``attrs``; a note names every machine whose interval leaves the band.
    """
    groups: dict[tuple[str, Case], list[Measured]] = {}
    for one in found:
        if one.timed:
            groups.setdefault((hardware_of(one.run.header), one.case), []).append(one)
    several = {key: sorted(group, key=lambda one: one.machine) for key, group in groups.items() if len(group) > 1}
    rows = [row for (hardware, *_), group in sorted(several.items(), key=_order) for row in _rows(hardware, group)]
    table = pd.DataFrame(rows, columns=COLUMNS).set_index(INDEX)
    kinds: dict[str, set[str]] = {}
    for one in found:
        kinds.setdefault(hardware_of(one.run.header), set()).add(one.machine)
    alone = sorted(name for machines in kinds.values() if len(machines) == 1 for name in machines)
    notes = (
        [*_named(table.reset_index()), LEGEND] if rows else ["no two machines of one kind have measured the same here"]
    )
    notes += [f"the only one of its kind: {', '.join(alone)}"] if alone else []
    units = {name: unit_of(name) for name in COLUMNS}
    equal = sum(len(machines) for machines in kinds.values() if len(machines) > 1)
    title = f"do equal machines give equal results? {equal} machines that have equals"
    table.attrs = {"title": title, "notes": notes, "units": units, "best": "", "contexts": [()]}
    return table


def _order(item: tuple[tuple[str, Case], list[Measured]]) -> tuple[str, str, int]:
    (hardware, case), _ = item
    return hardware, case.model, case.threads


def _rows(hardware: str, group: Sequence[Measured]) -> list[dict[str, Any]]:
    rows = []
    for one in group:
        row = {name: one.row[name] for name in COLUMNS if name in one.row}
        said = compared(one, [other for other in group if other is not one])
        speeds = dict(zip(("speed", "speed_low", "speed_high"), said.ratio, strict=True))
        row |= speeds | {"hardware": hardware, "target": one.case.target, "verdict": said.outcome}
        rows.append(row | {"detectable": said.detectable})
    pooled = [seconds_ for one in group for seconds_ in one.levels]
    times = dict(zip(("median_s", "ci_low_s", "ci_high_s"), typical(pooled), strict=True))
    named = {name: rows[0][name] for name in COLUMNS[:8]}
    return [*rows, named | times | {"machine": POOLED, "rounds": len(pooled), "verdict": ""}]


def _named(table: pd.DataFrame) -> list[str]:
    """Return which machines differ from their equals, and how much; or that none does."""
    left = table[table["verdict"].isin(("faster", "slower"))]
    said = [
        f"{row['machine']} is {row['verdict']} on {row['operation']} {row['target']}: "
        f"{interval(row['speed'], row['speed_low'], row['speed_high'])}"
        for row in left.to_dict("records")
    ]
    undecided = sorted(set(table.loc[table["verdict"].isin(("undecided", "control failed")), "machine"]))
    doubt = f"; undecided on some: {', '.join(undecided)}" if undecided else ""
    return [f"outside the band: {'; '.join(said)}{doubt}" if said else f"no machine's interval leaves the band{doubt}"]


def render(table: pd.DataFrame, form: str, screen: Screen = PAPER) -> str:
    """Return what ``nodes`` found as ``table`` or ``markdown``: a table for each kind of machine and model."""
    parts = []
    for (hardware, model, dtype, precision, threads), rows in table.reset_index().groupby(COLUMNS[:5], sort=False):
        heading = f"{hardware}, {model}, {titled(str(dtype), str(precision))}, {threads} thread{'s' * (threads != 1)}"
        parts.append(Part(pd.DataFrame([_line(row) for row in rows.to_dict("records")], columns=list(SHOWN)), heading))
    return document(table.attrs["title"], parts, table.attrs["notes"], form, screen)


def _line(row: dict[Any, Any]) -> tuple[str, ...]:
    speed = "" if row["machine"] == POOLED else interval(*(row[f"speed{end}"] for end in ("", "_low", "_high")))
    said = verdict(row["verdict"], row["detectable"], row["rounds"])
    return (*(str(row[name]) for name in SHOWN[:3]), time(row), speed, said)
