"""The rows of several runs."""

import itertools
from typing import Any

import pandas as pd

from ..results.run import Several, V
from ..results.table import run_table


def rows(found: Several[V], columns: list[str], named: str) -> pd.DataFrame:
    """Return those columns of each case of each run, which ``named`` names; what failed has its reason."""
    made: list[dict[Any, Any]] = []
    for point in found.points:
        if point.run is None:
            blank = {named: point.value, "status": point.status, "reason": point.reason}
            pairs = itertools.product(found.operations, found.targets)
            made += [blank | {"operation": name, "target": target} for name, target in pairs]
        else:
            made += [{named: point.value} | row for row in run_table(point.run).to_dict("records")]
    table = pd.DataFrame(made, columns=columns)
    numbers = [name for name in columns if name.endswith("_s") or name.startswith(("ratio", "detectable", "rounds"))]
    return table.astype(dict.fromkeys(numbers, "float64"))


def runs_named(found: Several[V]) -> str:
    """Return the id of each run."""
    return ", ".join(f"{point.value} {point.run.header.run_id}" for point in found.points if point.run is not None)
