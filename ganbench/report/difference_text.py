"""The difference of two runs, written in the format that was asked for."""

import pandas as pd

from .difference import interval
from .formats import data
from .table import seconds, verdict
from .text import Part, document


def render(table: pd.DataFrame, form: str) -> str:
    """Return what ``ganbench.diff`` found as ``table``, ``markdown``, ``csv`` or ``json``."""
    if form in ("csv", "json"):
        return data(table.reset_index(), form)
    part = Part(readable(table), wraps="verdict", right=("A", "B"), grouped=True)
    return document(table.attrs["title"], [part], [*_reasons(table), *table.attrs["notes"]], form)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as text: times with units, ratios with intervals, verdicts in words."""
    baseline = table.attrs["baseline"]
    rows = []
    for row in table.reset_index().to_dict("records"):
        line = {
            "operation": row["operation"],
            "target": row["target"],
            "A": seconds(row["a_s"]),
            "B": seconds(row["b_s"]),
        }
        line["speed"] = interval(row["ratio"], row["ratio_low"], row["ratio_high"])
        if baseline:
            line[f"against {baseline}"] = interval(row["relative"], row["relative_low"], row["relative_high"])
        said = verdict(row["verdict"], row["detectable"], min(row["a_rounds"], row["b_rounds"]))
        rows.append(line | {"verdict": said or ("see below" if row["reason"] else "")})
    return pd.DataFrame(rows)


def _reasons(table: pd.DataFrame) -> list[str]:
    """Return each reason why a target has no ratio, once."""
    wrong = table[table["reason"] != ""]
    targets = wrong.index.get_level_values("target")
    return list(dict.fromkeys(f"{target}: {reason}" for target, reason in zip(targets, wrong["reason"], strict=True)))
