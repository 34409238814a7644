"""Machines compared, unpaired: hardware side by side (``report --across``), and equal ones (``--by machine``)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import plural, unknown
from ..precision import titled
from ..results.case import Case
from ..results.columns import unit_of
from ..results.differences import changes, differing
from ..results.statistics import BAND, typical
from .measured import SPEED, Measured, compared, kind_of
from .table import interval_of, time, verdict
from .text import PAPER, Part, Screen, document

COLUMNS = (
    "model dtype precision operation shape target machine threads status reason median_s ci_low_s ci_high_s rounds "
    "against speed speed_low speed_high verdict detectable baseline ratio ratio_low ratio_high framework_version run_id"
).split()
EQUALS = (
    "hardware model dtype precision threads operation shape target machine median_s ci_low_s ci_high_s rounds "
    "speed speed_low speed_high verdict detectable run_id"
).split()
SHOWN = ("operation", "target", "machine", "time", "speed", "verdict")  # of equal machines
LEGEND = (
    "in a cell: time ± half its 95 % interval; below it the speed relative to {against}, more than 1 is faster, with "
    "its own 95 % interval. Unpaired: the machines were not measured side by side, so what was wrong with one of them "
    f"during its run is in the ratio. Within {BAND:.0%} is the same."
)
POOLED = "all together"
LEGEND_OF_EQUALS = (
    "speed: of a machine relative to all others of its kind together, more than 1 is faster; [95 % interval of two "
    f"unpaired samples]; within {BAND:.0%} is the same. '{POOLED}' pools the rounds of all. One run of each machine "
    "cannot tell a slow machine from a bad hour: measure again what is named here before you believe it."
)
MOST = "most threads of each"
Line = tuple[Case, str]  # a case whatever its threads, and these in words
Row = dict[str, Any]
Parts = dict[str, list[list[str]]]  # lines of cells, in words, below their headings


def across(found: Sequence[Measured], against: str | None) -> pd.DataFrame:
    """Return a row for each case and machine with ``COLUMNS``; title, notes and ``parts`` are in ``attrs``.

    ``attrs["told"]`` has the speed and the cell of each machine, by line. ``against`` is the machine that speeds are
    relative to; None: the one with most cases. Raises ``UsageError`` for one that is not there.
    """
    machines = sorted({one.machine for one in found}, key=lambda name: (-sum(m.machine == name for m in found), name))
    if against is not None and against not in machines:
        raise unknown("machine in these results", against, machines)
    first = against or machines[0]
    machines.sort(key=lambda name: name != first)
    lines = beside(found)
    rows: list[Row] = []
    parts: Parts = {}
    told: list[tuple[Line, dict[str, tuple[float, str]]]] = []
    for (case, threads), of in lines.items():
        mine = {name: _row(of[name], of.get(first), first) for name in machines if name in of}
        cells = {name: _cell(row) for name, row in mine.items()}
        told.append(((case, threads), {name: (row["speed"], cells[name]) for name, row in mine.items()}))
        rows += mine.values()
        run = next(iter(of.values())).run.header
        heading = f"{case.model} ({run.spec.describe()}), {titled(case.dtype, case.precision)}, {threads}"
        line = [f"{case.operation} {case.target}", *(cells.get(name, "") for name in machines)]
        parts.setdefault(heading, []).append(line)
    title = f"{plural(len(machines), 'machine')}, speed relative to {first}, unpaired"
    notes = [LEGEND.format(against=first), *_threads(lines), *_precisions(found), *_versions(lines, first)]
    if len(machines) == 1:
        notes.append(f"{first} is the only machine here: 'ganbench results import' and 'ganbench fleet' bring others")
    return _framed(
        rows, COLUMNS, 8, {"title": title, "notes": notes, "parts": parts, "shown": ["", *machines], "told": told}
    )


def equals(found: Sequence[Measured]) -> pd.DataFrame:
    """Return a row for each case and machine of which there are equals, with ``EQUALS``, and one for all together.

    Title, notes and ``parts`` are in ``attrs``; a note names every machine whose interval leaves the band.
    """
    groups: dict[tuple[str, Case], list[Measured]] = {}
    kinds: dict[str, set[str]] = {}
    for one in found:
        hardware = kind_of(one.run.header)
        kinds.setdefault(hardware, set()).add(one.machine)
        if one.timed:
            groups.setdefault((hardware, one.case), []).append(one)
    several = {key: sorted(group, key=lambda one: one.machine) for key, group in groups.items() if len(group) > 1}
    rows: list[Row] = []
    parts: Parts = {}
    for hardware, case in sorted(several, key=lambda key: (key[0], key[1].model, key[1].threads)):
        mine = _equal_rows(hardware, several[hardware, case])
        rows += mine
        heading = f"{hardware}, {case.model}, {titled(case.dtype, case.precision)}, {plural(case.threads, 'thread')}"
        parts.setdefault(heading, []).extend(map(_line, mine))
    alone = sorted(name for machines in kinds.values() if len(machines) == 1 for name in machines)
    notes = [*_named(rows), LEGEND_OF_EQUALS] if rows else ["no two machines of one kind have measured the same here"]
    notes += [f"the only one of its kind: {', '.join(alone)}"] if alone else []
    equal = sum(len(machines) for machines in kinds.values() if len(machines) > 1)
    title = f"do equal machines give equal results? {equal} machines that have equals"
    return _framed(rows, EQUALS, 9, {"title": title, "notes": notes, "parts": parts, "shown": SHOWN})


def render(table: pd.DataFrame, form: str, screen: Screen = PAPER) -> str:
    """Return what ``across`` or ``equals`` found as ``table`` or ``markdown``: a table below each heading."""
    names = table.attrs["shown"]
    repeated = int(names != SHOWN)  # before each piece of a table that has a column for every machine
    parts = [
        Part(pd.DataFrame(lines, columns=list(names)), heading, repeated=repeated)
        for heading, lines in table.attrs["parts"].items()
    ]
    return document(table.attrs["title"], parts, table.attrs["notes"], form, screen)


def _framed(rows: Sequence[Row], columns: list[str], levels: int, attrs: dict[Any, Any]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns).set_index(columns[:levels])
    attrs |= {"units": {name: unit_of(name) for name in columns}, "best": "", "contexts": [()]}
    table.attrs = attrs
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
                lines[case, plural(count, "thread")] = counts[count]
        if most not in [counts[count] for count in counts if len(counts[count]) > 1]:
            same = len({one.threads for one in most.values()}) == 1
            lines[case, plural(max(counts), "thread") if same else MOST] = most
    return dict(sorted(lines.items(), key=lambda item: len(item[1]) < 2))  # what several have measured stands first


def _row(one: Measured, reference: Measured | None, against: str) -> Row:
    row = {name: one.row[name] for name in COLUMNS if name in one.row}
    row |= dict.fromkeys(SPEED, math.nan) | {"target": one.case.target, "against": against, "verdict": ""}
    if one is reference and one.timed:
        return row | {"speed": 1.0, "verdict": "baseline"}
    if one is reference or reference is None or not reference.timed or not one.timed:
        return row
    return row | compared(one, [reference])


def _cell(row: Row) -> str:
    if row["status"] != "ok" or math.isnan(row["median_s"]):
        return str(row["status"])
    return time(row) if row["verdict"] == "baseline" else f"{time(row)}\n{_speed(row)} {_verdict(row)}".strip()


def _speed(row: Row) -> str:
    return interval_of(row, "speed")


def _verdict(row: Row) -> str:
    return verdict(row["verdict"], row["detectable"], row["rounds"])


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
    told: dict[str, dict[str, None]] = {}  # each once, in order
    pairs = {(id(of[first].run), id(m.run)): (of[first].run, m) for of in lines.values() if first in of
             for m in of.values() if m.machine != first}  # fmt: skip
    for ours, one in pairs.values():
        theirs = one.run
        engines = ({"engine of ganbench": run.header.settings.get("engine", 1)} for run in (ours, theirs))
        for change in [*differing(*engines), *changes(ours, theirs)]:
            told.setdefault(one.machine, {}).setdefault(str(change))
    return [f"differs ({first} / {name}): {'; '.join(found)}" for name, found in told.items()]


def _equal_rows(hardware: str, group: Sequence[Measured]) -> list[Row]:
    """Return the rows of equal machines on one case, each compared with all others, and of all together."""
    rows = []
    for one in group:
        row = {name: one.row[name] for name in EQUALS if name in one.row}
        row |= {"hardware": hardware, "target": one.case.target}
        rows.append(row | compared(one, [other for other in group if other is not one]))
    pooled = [seconds for one in group for seconds in one.levels]
    times = dict(zip(("median_s", "ci_low_s", "ci_high_s"), typical(pooled), strict=True))
    together = {name: rows[0][name] for name in EQUALS[:8]} | times | dict.fromkeys(SPEED, math.nan)
    return [*rows, together | {"machine": POOLED, "rounds": len(pooled), "verdict": ""}]


def _line(row: Row) -> list[str]:
    return [*(str(row[name]) for name in SHOWN[:3]), time(row), _speed(row), _verdict(row)]


def _named(rows: Sequence[Row]) -> list[str]:
    """Return which machines differ from their equals, and how much; or that none does."""
    said = [
        f"{row['machine']} is {row['verdict']} on {row['operation']} {row['target']}: {_speed(row)}"
        for row in rows
        if row["verdict"] in ("faster", "slower")
    ]
    undecided = sorted({row["machine"] for row in rows if row["verdict"] in ("undecided", "control failed")})
    doubt = f"; undecided on some: {', '.join(undecided)}" if undecided else ""
    return [f"outside the band: {'; '.join(said)}{doubt}" if said else f"no machine's interval leaves the band{doubt}"]
