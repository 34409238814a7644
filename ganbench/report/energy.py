"""The energy of an iteration, as it is shown: with what the device uses at rest, and without it."""

import math
from statistics import fmean

import pandas as pd

from ..results.records import EnergyRecord, PowerRecord
from ..results.run import Run

COLUMNS = ("energy of", "target", "per iteration", "above idle", "power")
UNITS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))


def joules(value: float) -> str:
    """Return an energy with three digits; '' for NaN."""
    if math.isnan(value):
        return ""
    scale, unit = next(((s, u) for s, u in UNITS if abs(value) >= s), UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def energy_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the energy of each case; empty where none is known."""
    rows = [
        [row["operation"], row["target"], _with_width(row), joules(row["joules_above_idle"]), f"{row['watts']:.3g} W"]
        for _, row in table[table["joules"].notna()].iterrows()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _with_width(row: "pd.Series[float]") -> str:
    if math.isnan(row["joules_low"]):
        return joules(row["joules"])
    return f"{joules(row['joules'])} ±{(row['joules_high'] - row['joules_low']) / 2 / row['joules']:.1%}"


def notes(run: Run) -> list[str]:
    """Return a line on each device: its power at rest and how exact energies are, or why there are none."""
    lines = []
    devices = {target.label: target.device for target in run.header.targets}
    for device in dict.fromkeys(devices.values()):
        power = [one for one in run.records if isinstance(one, PowerRecord) and one.device == device]
        told = [(one.source, one.watts) for one in power if one.watts is not None]
        if not told:
            lines += [f"energy on {device}: not available: {one.reason}" for one in power[:1]]
            continue
        mine = [one for one in run.records if isinstance(one, EnergyRecord) and devices[one.target] == device]
        watts = fmean(one for _, one in told)
        line = f"energy on {device} ({told[0][0]}): {watts:.3g} W at rest, with all workers stopped"
        if doubts := [one.doubt for one in mine if not one.reason]:
            line += f"; in a round, an energy may be off by up to {max(doubts):.1%}"
        lines.append(line)
        failed = {f"{one.operation} on {one.target}: {one.reason}": None for one in mine if one.reason}
        lines += [f"no energy of {words}" for words in failed]
    return lines
