"""The memory that each target takes, beside the bytes that the arithmetic needs."""

import pandas as pd

from .table import declared

LEGEND = (
    "After import: memory once the framework is loaded. Peak above: how far it then rose. "
    "Needs: size of inputs and outputs."
)
PEAKS = ["host_peak_bytes", "device_peak_bytes"]


def memory_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the peaks of each target on the largest operation; empty where none was recorded."""
    known = table[table[PEAKS].notna().any(axis=1)]
    if known.empty:
        return known
    operation = known.groupby("operation", sort=False)["flops"].max().idxmax()
    shown = declared(known[known["operation"] == operation], "memory of", ("import_bytes", *PEAKS, "bytes"))
    return shown if shown["device peak"].any() else shown.drop(columns="device peak")
