"""What charts and the page show, as plain rows: the newest of each case, what was varied, and how it changed.

Names of fields are those of ``ganbench.load_results``, and a few that follow from them:

case          the operation, with its batch or its shape where a context has several
label         the target; ``target`` has the version behind it where a context has several
word          what stands where there is no number, such as ``unavailable``; '' where there is one
start_s       import and first call
intensity     FLOP per byte
roof_gflops   what the ceilings measured on that machine allow
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ..results.case import KEYS, without
from ..results.columns import COLUMNS
from .escape import visible
from .selection import Selection, instead

Row = dict[str, Any]
FIELDS = [*(name for name in COLUMNS if name != "samples"), *"case label word start_s intensity roof_gflops".split()]
TIMES = [*KEYS, *"case target median_s ci_low_s ci_high_s timestamp commit framework_version run_id".split()]
VARIED = [*KEYS, *"variable value case target median_s ci_low_s ci_high_s".split()]
ITERATION = "gan_iteration"  # what a training repeats, and starts are paid for


def cells(found: Selection) -> list[Row]:
    """Return the newest row of each case with ``FIELDS``."""
    rows = _with_cases(found.rows)
    rows = rows.assign(
        word=[instead(row) for row in rows.to_dict("records")],
        start_s=rows["import_s"] + rows["first_call_s"],
        intensity=rows["flops"].astype("float64") / rows["bytes"].astype("float64"),
        roof_gflops=100 * rows["gflops"] / rows["percent_of_ceiling"],
    )
    return plain(rows, FIELDS)


def within(rows: Iterable[Row], context: Sequence[Any], free: str = "") -> list[Row]:
    """Return the rows of one context, whatever the key ``free`` is."""
    wanted = [(name, value) for name, value in zip(KEYS, context, strict=True) if name != free]
    return [row for row in rows if all(row[name] == value for name, value in wanted)]


def forest(rows: Sequence[Row]) -> list[Row]:
    """Return what a chart of ratios shows: of each case that has several, the fastest first, and the control."""
    found: list[Row] = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case and row["ratio"] is not None]
        beside = [row for row in mine if row["ratio_low"] is not None and row["control_ratio"] is not None]
        if len(mine) > 1:
            found += sorted(mine, key=lambda row: row["ratio"], reverse=True)
            ends = {f"ratio{end}": f"control_{end.strip('_') or 'ratio'}" for end in ("", "_low", "_high")}
            control = [{name: row[column] for name, column in ends.items()} for row in beside[:1]]
            found += [{"case": case, "target": "control", "verdict": "control", **one} for one in control]
    return found


def paid(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one case of a whole iteration, the newest, whose start is known."""
    timed = [row for row in rows if row["operation"] == ITERATION and row["start_s"] is not None and not row["word"]]
    newest = max(timed, key=lambda row: row["timestamp"] or "", default={"case": None})["case"]
    return [row for row in timed if row["case"] == newest]


def varied(found: Selection) -> list[Row]:
    """Return the rows of which one of batch, critic_steps, width, n and threads was varied alone, with ``VARIED``."""
    rows = found.rows[(found.rows["status"] == "ok") & found.rows["median_s"].notna()]
    series: dict[tuple[Any, ...], list[Row]] = {}
    records: Sequence[Mapping[Any, Any]] = rows.to_dict("records")
    for row in records:
        context = tuple(row[name] for name in KEYS)
        for variable, value, rest in _variables(row):
            case = f"{row['operation']} {rest}".strip()
            series.setdefault((*context, variable, case), []).append(
                {**row, "variable": variable, "value": value, "case": case}
            )
        by_threads = (*context[:-1], None, "threads", row["operation"], row["shape"])
        case = f"{row['operation']} {row['shape']}"
        series.setdefault(by_threads, []).append({**row, "variable": "threads", "value": row["threads"], "case": case})
    several = [group for group in series.values() if len({row["value"] for row in group}) > 1]
    chosen = [row for group in several for row in sorted(group, key=lambda row: row["value"])]
    return plain(pd.DataFrame(chosen, columns=VARIED), VARIED)


def _variables(row: Mapping[Any, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield what a shape may be one value of: variable, value, and the rest, which must be the same."""
    sizes = row["sizes"]
    if len(sizes) < 2:
        return
    if len(set(sizes)) == 1:
        yield "n", sizes[0], ""
        return
    for name in ("batch", "critic_steps"):
        if pd.notna(row[name]):
            yield name, int(row[name]), without(row, name)
    if len(sizes) > 4:  # a model: batch, noise, widths of the generator, widths of the discriminator, 1
        widths = sizes[1 + pd.notna(row["critic_steps"]) :]
        yield "width", max(widths[1:-1]), f"batch {row['batch']}, {len(sizes)} sizes, noise {widths[0]}"


def history(found: Selection, most: int) -> tuple[list[Row], int]:
    """Return the times of each case that was measured more than once, with ``TIMES``, and how many were left out.

    Of each series the newest ``most`` are kept.
    """
    rows = found.older[(found.older["status"] == "ok") & found.older["median_s"].notna()]
    rows = _with_cases(rows).sort_values("timestamp", kind="stable")
    rows["target"] = rows["label"]
    series = rows.groupby([*KEYS, "case", "target"], sort=False, dropna=False)
    rows = rows[series["median_s"].transform("size") > 1]
    kept = rows.groupby([*KEYS, "case", "target"], sort=False, dropna=False).tail(most)
    return plain(kept, TIMES), len(rows) - len(kept)


def _with_cases(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a name for each case: batch or critic_steps, where nothing else differs, or else the shape."""
    rows = rows.assign(rest=[_rest(row) for row in rows.to_dict("records")])
    groups = rows.groupby([*KEYS, "operation"], dropna=False, sort=False)
    several = {name: groups[name].transform("nunique") > 1 for name in ("critic_steps", "batch", "rest")}
    operation = rows["operation"].astype(str)
    named = operation
    for name in ("critic_steps", "batch"):
        named = named.where(~several[name], named + f" {name} " + rows[name].astype(str))
    return rows.assign(case=named.where(~several["rest"], operation + " " + rows["shape"].astype(str)).astype(object))


def _rest(row: Mapping[Any, Any]) -> str:
    """Return a shape without its batch and critic_steps."""
    skipped = pd.notna(row["batch"]) + pd.notna(row["critic_steps"])
    return "x".join(str(row["shape"]).split("x")[skipped:])


def plain(table: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    """Return rows whose values JSON knows: text, numbers, truth values, or None where there is none."""
    records: Sequence[Mapping[Any, Any]] = table[list(columns)].to_dict("records")
    return [{name: _value(record[name]) for name in columns} for record in records]


def _value(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return None if pd.isna(value) else value.isoformat()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        return visible(value)
    return value.item() if hasattr(value, "item") else value
