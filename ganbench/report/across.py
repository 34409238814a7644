"""``ganbench report --across``: hardware beside hardware, absolute times and ratios, unpaired."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import unknown
from ..precision import titled
from ..results.case import Case
from ..results.columns import unit_of
from ..results.differences import Difference, changes, differing, shown
from ..results.statistics import BAND
from .difference import interval
from .measured import Measured, compared
from .table import time, verdict
from .text import PAPER, Part, Screen, document

COLUMNS = (
    "model dtype precision operation shape target machine threads status reason median_s ci_low_s ci_high_s rounds "
    "against speed speed_low speed_high verdict detectable baseline ratio ratio_low ratio_high framework_version run_id"
).split()
INDEX = COLUMNS[:8]
LEGEND = (
    "in a cell: time ± half its 95 % interval; below it the speed relative to {against}, more than 1 is faster, with "
    "its own 95 % interval. Unpaired: the machines were not measured side by side, so what was wrong with one of them "
    f"during its run is in the ratio. Within {BAND:.0%} is the same."
)
MOST = "most threads of each"
Line = tuple[Case, str]  # a case whatever its threads, and these in words


def across(found: Sequence[Measured], against: str | None) -> pd.DataFrame:
    """Return a row for each case and machine with ``COLUMNS``; title and notes are in ``attrs``.

    ``against`` is the machine that speeds are relative to; None: the one with most cases. Raises ``UsageError`` for one
    that is not there.
    """
    machines = sorted({one.machine for one in found}, key=lambda name: (-sum(m.machine == name for m in found), name))
    if against is not None and against not in machines:
        raise unknown("machine in these results", against, machines)
    first = against or machines[0]
    machines.sort(key=lambda name: name != first)
    lines = beside(found)
    rows = [_row(one, of.get(first), first) for of in lines.values() for one in _ordered(of, machines)]
    table = pd.DataFrame(rows, columns=COLUMNS).set_index(INDEX)
    title = f"{len(machines)} machine{'s' * (len(machines) != 1)}, speed relative to {first}, unpaired"
    notes = [LEGEND.format(against=first), *_threads(lines), *_precisions(found), *_versions(lines, first)]
    if len(machines) == 1:
        notes.append(f"{first} is the only machine here: 'ganbench results import' and 'ganbench fleet' bring others")
    table.attrs = {
        "title": title, "notes": notes, "units": {name: unit_of(name) for name in COLUMNS},
        "best": "", "contexts": [()], "machines": machines,
        "cells": [
            (_heading(of, threads), f"{case.operation} {case.target}", {name: one.key for name, one in of.items()})
            for (case, threads), of in lines.items()
        ],
    }  # fmt: skip
    return table


def beside(found: Iterable[Measured]) -> dict[Line, dict[str, Measured]]:
    """Return which measurements stand in one line: of each machine one.

    A number of threads that several machines share has a line; where machines differ in the most that they were
    measured with, the most of each stand in a line, too, for what the whole machines can do.
    """
    by_case: dict[Case, dict[int, dict[str, Measured]]] = {}
    for one in found:
        by_case.setdefault(one.case._replace(threads=0), {}).setdefault(one.threads, {})[one.machine] = one
    lines: dict[Line, dict[str, Measured]] = {}
    for case, counts in by_case.items():
        most: dict[str, Measured] = {}
        for count in sorted(counts):
            most |= counts[count]
            if len(counts[count]) > 1:
                lines[case, _count(count)] = counts[count]
        if most not in [counts[count] for count in counts if len(counts[count]) > 1]:
            same = len({one.threads for one in most.values()}) == 1
            lines[case, _count(max(counts)) if same else MOST] = most
    return dict(sorted(lines.items(), key=lambda item: len(item[1]) < 2))  # what several have measured stands first


def _count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads != 1)}"


def _ordered(of: Mapping[str, Measured], machines: Sequence[str]) -> list[Measured]:
    return [of[name] for name in machines if name in of]


def _row(one: Measured, reference: Measured | None, against: str) -> dict[str, Any]:
    row = {name: one.row[name] for name in COLUMNS if name in one.row} | {"target": one.case.target}
    row |= {"against": against, "verdict": ""}
    if one is reference:
        return row | {"speed": 1.0 if one.timed else None, "verdict": "baseline" if one.timed else ""}
    if reference is None or not reference.timed or not one.timed:
        return row
    said = compared(one, [reference])
    speeds = dict(zip(("speed", "speed_low", "speed_high"), said.ratio, strict=True))
    return row | speeds | {"verdict": said.outcome, "detectable": said.detectable}


def _threads(lines: Mapping[Line, Mapping[str, Measured]]) -> list[str]:
    counts = {m.machine: m.threads for (_, words), of in lines.items() if words == MOST for m in of.values()}
    if len(set(counts.values())) < 2:
        return []
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"threads differ where '{MOST}' is said: {listed}"]


def _precisions(found: Sequence[Measured]) -> list[str]:
    where: dict[str, set[str]] = {}
    for one in found:
        where.setdefault(titled(one.case.dtype, one.case.precision), set()).add(one.machine)
    everywhere = {one.machine for one in found}
    partly = {name: machines for name, machines in where.items() if machines != everywhere}
    said = ", ".join(f"{name} on {', '.join(sorted(machines))} only" for name, machines in partly.items())
    return [f"precision differs: {said}; what differs stands apart"] if said else []


def _versions(lines: Mapping[Line, Mapping[str, Measured]], first: str) -> list[str]:
    """Return for each machine what differs between its runs and those of the first machine, besides the hardware."""
    told: dict[str, dict[Difference, None]] = {}
    pairs = {(id(of[first].run), id(m.run)): (of[first].run, m.run) for of in lines.values() if first in of
             for m in of.values() if m.machine != first}  # fmt: skip
    for ours, theirs in pairs.values():
        engines = ({"engine of ganbench": run.header.settings.get("engine", 1)} for run in (ours, theirs))
        for one in [*differing(*engines), *changes(ours, theirs)]:
            told.setdefault(theirs.header.machine, {}).setdefault(one)
    return [
        f"differs ({first} / {name}): {'; '.join(f'{d.name} {shown(d.a)} / {shown(d.b)}' for d in found)}"
        for name, found in told.items()
    ]


def parts(table: pd.DataFrame) -> dict[str, list[tuple[str, list[str]]]]:
    """Return what ``across`` found, in words: lines below their headings, each with a cell for every machine."""
    rows = {(row["run_id"], row["operation"], row["target"]): row for row in table.reset_index().to_dict("records")}
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for heading, name, of in table.attrs["cells"]:
        cells = [_cell(rows[of[machine]]) if machine in of else "" for machine in table.attrs["machines"]]
        found.setdefault(heading, []).append((name, cells))
    return found


def render(table: pd.DataFrame, form: str, screen: Screen = PAPER) -> str:
    """Return what ``across`` found as ``table`` or ``markdown``: hardware × framework, a table for each model."""
    names = ["", *table.attrs["machines"]]
    tables = [
        Part(pd.DataFrame([[name, *cells] for name, cells in lines], columns=names), heading, repeated=1)
        for heading, lines in parts(table).items()
    ]
    return document(table.attrs["title"], tables, table.attrs["notes"], form, screen)


def _heading(of: Mapping[str, Measured], threads: str) -> str:
    one = next(iter(of.values()))
    return (
        f"{one.case.model} ({one.run.header.spec.describe()}), {titled(one.case.dtype, one.case.precision)}, {threads}"
    )


def _cell(row: Mapping[Any, Any]) -> str:
    if row["status"] != "ok" or pd.isna(row["median_s"]):
        return str(row["status"])
    speed = interval(row["speed"], row["speed_low"], row["speed_high"])
    if row["verdict"] == "baseline":
        return time(row)
    return f"{time(row)}\n{speed} {verdict(row['verdict'], row['detectable'], row['rounds'])}".strip()
