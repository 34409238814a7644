"""The memory that each target takes, beside the bytes that the arithmetic needs."""

import math

import pandas as pd

COLUMNS = ("memory of", "target", "after import", "peak above", "device peak", "needs")
LEGEND = (
    "After import: memory once the framework is loaded. Peak above: how far it then rose. "
    "Needs: size of inputs and outputs."
)
PEAKS = ["host_peak_bytes", "device_peak_bytes"]


def memory(count: float) -> str:
    """Return bytes in MiB with three digits or more; '' for NaN."""
    if math.isnan(count):
        return ""
    value = count / 2**20
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} MiB"


def memory_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the peaks of each target on the largest operation; empty where none was recorded."""
    known = table[table[PEAKS].notna().any(axis=1)]
    if known.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    operation = known.groupby("operation", sort=False)["flops"].max().idxmax()
    rows = [
        [operation, row["target"], *(memory(float(row[name])) for name in ("import_bytes", *PEAKS, "bytes"))]
        for _, row in known[known["operation"] == operation].iterrows()
    ]
    shown = pd.DataFrame(rows, columns=list(COLUMNS))
    return shown if shown["device peak"].any() else shown.drop(columns="device peak")
