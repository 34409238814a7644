"""``ganbench diff``: two runs of one machine, side by side, and which conclusions that allows.

Rounds of two runs are not paired, and the machine may have changed between them. So the ratio of their times
is one of code and machine together. Where both measured the same baseline, the ratio of the ratios to it
cancels whatever slows the machine as a whole: that one supports a claim.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import UsageError
from ..results.differences import changes, obstacles, same_program
from ..results.repeats import repeats, speeds, spread, together
from ..results.run import Run, find_run, open_run
from ..results.statistics import BAND, Estimate, control_failed, judge, round_logs
from ..results.table import control_of, run_table
from ..results.unpaired import unpaired_ratio
from . import counted
from .formats import data
from .table import heading, interval, interval_of, seconds, verdict
from .text import PAPER, Part, Screen, document, narrowed

COLUMNS = (
    "a_s b_s a_rounds b_rounds ratio ratio_low ratio_high relative relative_low relative_high "
    "control control_low control_high basis verdict detectable reason "
    "runs confirmed confirmed_low confirmed_high confirmed_verdict"
).split()
_CONFIRMED = COLUMNS[-5:]
TIMES_ALONE = "times alone"
LEGEND = f"More than 1 is faster in B; [95 % interval of two unpaired samples]; within {BAND:.0%} is the same."


def diff(a: str | Path | Run, b: str | Path | Run, results: str | Path = "results") -> pd.DataFrame:
    """Return how the targets of run ``a`` do in run ``b``: a row for each operation and target of both.

    A run is a ``Run``, a file, an id below ``results`` or the beginning of one. ``ratio`` is time in
    ``a`` ÷ time in ``b``, ``relative`` that of the speeds relative to the common baseline: more than 1 is
    faster in ``b``. ``basis`` says on which of them ``verdict`` rests. Title and notes are in ``attrs``.

    A verdict of one run each is a beginning. Where files beside both hold repeats of them, ``confirmed`` is
    ``relative`` over all, ``runs`` how many on the side that has fewer, and ``confirmed_verdict`` what that allows.
    Two runs that counted instructions have ``a_instructions``, ``b_instructions``, ``change`` and a verdict.

    Raises ``UsageError`` naming what differs and must not, ``StorageError`` for what is no run.
    """
    first, second = (run if isinstance(run, Run) else opened(run, Path(results)) for run in (a, b))
    if first.header.run_id == second.header.run_id:
        raise UsageError(f"A and B are the same run, {first.header.run_id}: name two runs")
    found = obstacles(first, second)
    if found:
        raise UsageError(f"runs that differ in these (A / B) cannot be compared: {'; '.join(map(str, found))}")
    tables = [run_table(run).set_index(["operation", "target"]) for run in (first, second)]
    shared = [case for case in tables[0].index if case in tables[1].index]
    named = [[f"{target}/{operation}" for operation, target in table.index] for table in tables]
    if not shared:
        raise UsageError("A and B have measured nothing in common: A {}; B {}".format(*map(", ".join, named)))
    if first.header.count:
        table, baseline = counted.changes((first, second), shared), ""
        notes = [counted.LEGEND, counted.PURPOSE]
    else:
        baseline, why_not = _common_baseline(first, second)
        rows = [_row(first, second, case, baseline, [table.loc[case] for table in tables]) for case in shared]
        index = pd.MultiIndex.from_tuples(shared, names=["operation", "target"])
        table = pd.DataFrame(rows, index=index, columns=COLUMNS)
        notes = _notes(first, second, table, baseline, why_not)
        notes += [_confirm(table, [repeats(run) for run in (first, second)])] if baseline else []
    notes = [*_differing(first, second, named), *notes]
    table.attrs = {"title": _title(first, second), "baseline": baseline, "notes": notes}
    return table


def _confirm(table: pd.DataFrame, sides: Sequence[Sequence[Run]]) -> str:
    """Fill in what the repeats of both runs say together; return a note on them."""
    ours, theirs = ([run.header.run_id for run in side] for side in sides)
    if set(ours) & set(theirs):
        return f"A and B did the same work with the same code ({len(ours)} runs did): two such runs differ by as much"
    ratios = [speeds(side) for side in sides]
    between = spread(ratios)
    for case in table.index:
        groups = [found.get(case, []) for found in ratios]
        if between and (fewest := min(map(len, groups))) > 1:
            said = together(groups, between)
            table.loc[case, _CONFIRMED] = [fewest, *said.ratio, said.outcome]
    alone = [f"'ganbench compare --again {ids[0]}'" for ids in (ours, theirs) if len(ids) < 2]
    if alone:
        return f"not confirmed: only several runs show how much such runs differ; measure again: {', '.join(alone)}"
    return f"repeats: over {len(ours)} runs of A and {len(theirs)} of B; [95 % interval from rounds or runs: the wider]"


def opened(name: str | Path, results: Path) -> Run:
    """Return a run by its file, its id below ``results``, or the beginning of one."""
    return open_run(find_run(str(name), results))


def _common_baseline(a: Run, b: Run) -> tuple[str, str]:
    """Return the baseline whose program is the same in both runs, or '' and why there is none."""
    ours, theirs = a.header.baseline, b.header.baseline
    if ours != theirs:
        return "", f"the baselines are {ours} / {theirs}"
    found = same_program(a, b, ours)
    return ("", f"the baseline differs: {'; '.join(map(str, found))}") if found else (ours, "")


def _row(a: Run, b: Run, case: tuple[str, str], baseline: str, entries: "Sequence[pd.Series[Any]]") -> dict[str, Any]:
    operation, target = case
    row: dict[str, Any] = {"a_s": entries[0]["median_s"], "b_s": entries[1]["median_s"]}
    row |= {"basis": "", "verdict": "", "runs": 1, "confirmed_verdict": ""}
    times = [[*run.levels(operation, target).values()] for run in (a, b)]
    row |= {"a_rounds": len(times[0]), "b_rounds": len(times[1])}
    wrong = zip("AB", entries, strict=True)
    row["reason"] = "; ".join(f"{e['status']} in {name}: {e['reason']}" for name, e in wrong if e["status"] != "ok")
    if row["reason"] or not all(times):
        return row | {"reason": row["reason"] or "not timed in both"}
    controls = [control_of(entry) for entry in entries]
    if all(copies := _speeds(a, b, operation, a.header.baseline, copy=True)):
        controls.append(unpaired_ratio(*copies))
        row |= controls[-1].named("control")
    ratio = unpaired_ratio(times[1], times[0])
    row |= ratio.named("ratio")
    if target == baseline:
        return row | {"verdict": "baseline"}
    failed = next(filter(control_failed, controls), None)
    if baseline and all(speeds := _speeds(a, b, operation, target)):
        said = judge(unpaired_ratio(*speeds), min(map(len, speeds)), failed)
        return row | said.named("relative") | {"basis": f"against {baseline}"}
    return row | judge(ratio, min(map(len, times)), failed).named("ratio") | {"basis": TIMES_ALONE}


def _speeds(a: Run, b: Run, operation: str, target: str, copy: bool = False) -> list[list[float]]:
    """Return, for each run, the target's speed relative to the run's baseline in each round that has both."""
    speeds = []
    for run in (a, b):
        own = run.copies(operation, run.header.baseline)
        logs = round_logs(own[:1], own[1:]) if copy else round_logs(own, run.copies(operation, target))
        speeds.append([math.exp(log) for log in logs.values()])
    return speeds


def _title(a: Run, b: Run) -> str:
    lines = [heading(a.header)]
    for name, run in (("A", a), ("B", b)):
        time = run.header.timestamp[:16].replace("T", " ")
        lines.append(f"{name}: {run.header.run_id}, {time} UTC, ended: {run.ended}")
    return "\n".join(lines)


def _differing(a: Run, b: Run, cases: Sequence[Sequence[str]]) -> list[str]:
    """Return which versions differ, and what only one of the runs has; ``cases`` are those of each."""
    found = changes(a, b)
    notes = [f"differs (A / B): {'; '.join(map(str, found))}" if found else "neither versions nor commit differ"]
    for name, mine, others in (("A", *cases), ("B", *reversed(cases))):
        if alone := [case for case in mine if case not in others]:
            notes.append(f"only in {name}: {', '.join(alone)}")
    return notes


def _notes(a: Run, b: Run, table: pd.DataFrame, baseline: str, why_not: str) -> list[str]:
    notes: list[str] = []
    common = a.header.baseline if a.header.baseline == b.header.baseline else ""
    if baseline:
        own = table[table.index.get_level_values("target") == baseline]
        notes += _line(f"drift from A to B ({baseline} itself): ", own, "ratio")
    if common:
        first = table.groupby(level="operation", sort=False).first()
        notes += _line(f"control ({common} / its second copy, B relative to A): ", first, "control")
    sitting = "speed: time in A / time in B, changed by code and machine together"
    if baseline:
        same = (
            f", and assumes that {baseline} is the same at both commits" if a.header.commit != b.header.commit else ""
        )
        notes.append(
            f"{sitting}. against {baseline}: the same for speeds relative to it, so a slower machine changes nothing; "
            f"the verdict comes from this number{same}."
        )
    else:
        notes.append(
            f"{sitting}. The verdict comes from it alone: a hint, not a result, because there is no common baseline "
            f"({why_not})."
        )
    return [*notes, LEGEND]


def _line(words: str, rows: pd.DataFrame, name: str) -> Iterator[str]:
    """Yield one line that gives an interval for each operation, and says where it lies beyond the band."""
    known = rows[rows[name].notna()].reset_index()[["operation", name, f"{name}_low", f"{name}_high"]]
    found = {str(operation): Estimate(*bounds) for operation, *bounds in known.itertuples(index=False)}
    if found:
        beyond = ", ".join(operation for operation, one in found.items() if control_failed(one))
        end = f"; beyond {BAND:.0%} on {beyond}" if beyond else ""
        yield words + ", ".join(f"{operation} {interval(*one)}" for operation, one in found.items()) + end


def render(table: pd.DataFrame, form: str, screen: Screen = PAPER) -> str:
    """Return what ``ganbench.diff`` found as ``table``, ``markdown``, ``csv`` or ``json``."""
    if form in ("csv", "json"):
        return data(table.reset_index(), form)
    shown = readable(table)
    if form == "table":
        shown = narrowed(
            shown, screen.width, (("speed", " ["), (f"against {table.attrs['baseline']}", " ["), ("A", ""))
        )
    part = Part(shown, wraps="verdict", right=("A", "B"), grouped=True)
    return document(table.attrs["title"], [part], [*reasons(table), *table.attrs["notes"]], form, screen)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as text: times with units, ratios with intervals, verdicts in words; of counts theirs."""
    if "a_instructions" in table:
        return counted.readable(table)
    baseline = table.attrs["baseline"]
    rows = []
    for row in table.reset_index().to_dict("records"):
        line = {"operation": row["operation"], "target": row["target"]}
        line |= {"A": seconds(row["a_s"]), "B": seconds(row["b_s"]), "speed": interval_of(row, "ratio")}
        if baseline:
            line[f"against {baseline}"] = interval_of(row, "relative")
        if table["confirmed"].notna().any():
            over = interval_of(row, "confirmed")
            line["repeats"] = f"{over} {row['confirmed_verdict']}" if over else ""
        said = verdict(row["verdict"], row["detectable"], min(row["a_rounds"], row["b_rounds"]))
        rows.append(line | {"verdict": said or ("see below" if row["reason"] else "")})
    return pd.DataFrame(rows)


def reasons(table: pd.DataFrame) -> list[str]:
    """Return each reason why a target has no ratio, once."""
    wrong = table[table["reason"] != ""]
    targets = wrong.index.get_level_values("target")
    return list(dict.fromkeys(f"{target}: {reason}" for target, reason in zip(targets, wrong["reason"], strict=True)))
