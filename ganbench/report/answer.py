"""The answer in one sentence: which target is fastest, by how much, how sure that is, and on what."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pandas as pd

from ..operations import ITERATION, OPERATIONS
from ..results.case import model_label
from ..results.run import Run
from .relative import DERIVED, MAYBE, SURELY, fastest, speeds
from .table import conditions, deciding, interval

APART = "not measured side by side"
Row = Mapping[Any, Any]


def answer(run: Run, table: pd.DataFrame) -> str:
    """Return who is fastest on an iteration, or on the last operation that was timed; '' where none is compared.

    ``table`` is that of ``run_table``.
    """
    timed = table[table["status"] == "ok"].assign(fastest=fastest(table, lambda *_: run))
    compared = timed[timed["fastest"] != ""]
    if compared.empty:
        return ""
    operation = answered(compared["operation"])
    rows = timed[timed["operation"] == operation]

    def speed(first: Row, other: str) -> Row:
        return speeds(rows, other, lambda *_: run).set_index("target").to_dict("index")[first["target"]]

    header = run.header
    said = winner(rows.assign(label=rows["target"]).to_dict("records"), header.baseline, speed)
    return f"{said}; {model_label(header.spec)}, {operation}, {conditions(msgspec.structs.asdict(header))}"


def winner(rows: Sequence[Row], baseline: str, speed: Callable[[Row, str], Row]) -> str:
    """Return which of the timed rows of one case is fastest, or which may be and what would decide it.

    The rows have ``fastest`` of ``relative``, and ``label``, which is the target without a version; '' where nothing is
    compared. ``speed`` returns what ``speeds`` says of a row relative to a label.
    """
    rows = sorted(rows, key=lambda row: row["median_s"])
    maybe = [row for row in rows if row["fastest"] == MAYBE]
    if maybe:
        *names, last = [row["target"] for row in maybe]
        return f"{', '.join(names)} or {last} may be fastest ({_deciding(maybe)})"
    first = next((row for row in rows if row["fastest"] == SURELY), None)
    if first is None:
        return ""
    others = [row["label"] for row in rows if row is not first]
    other = baseline if baseline in others else others[0]
    found = speed(first, other)
    if pd.isna(found["ratio"]):
        return f"{first['target']} is fastest"
    numbers = [math.nan if pd.isna(found[name]) else found[name] for name in ("ratio", "ratio_low", "ratio_high")]
    value, *bounds = interval(*numbers).split(" ", 1)
    apart = [f", {APART}"] * (found["verdict"] == DERIVED)
    return f"{first['target']} is fastest: {' '.join([f'{value} times {other}', *bounds])}{''.join(apart)}"


def _deciding(maybe: Sequence[Row]) -> str:
    """Return what would decide between rows that may be the fastest."""
    if len({row["run_id"] for row in maybe}) > 1 or any(row["source"] != "compare" for row in maybe):
        return f"{APART}: 'ganbench compare --backends {','.join(row['label'] for row in maybe)}' may decide it"
    return deciding(max(row["rounds"] for row in maybe))


def answered(timed: Iterable[str]) -> str:
    """Return which operation is answered for: an iteration, or else the last of ``OPERATIONS``; '' of none."""
    place = {name: number for number, name in enumerate(OPERATIONS)}
    return max(timed, key=lambda name: (name == ITERATION, place.get(name, len(place))), default="")
