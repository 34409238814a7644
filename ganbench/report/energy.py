"""The energy of an iteration, as it is shown: with what the device uses at rest, and without it."""

from statistics import fmean

import pandas as pd

from ..results.records import EnergyRecord, PowerRecord
from ..results.run import Run
from .table import declared, with_width

JOULES = ("joules", "joules_low", "joules_high")


def energy_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, as text, the energy of each case; empty where none is known."""
    known = table[table["joules"].notna()]
    shown = declared(known, "energy of", ("joules", "joules_above_idle", "watts"))
    return shown.assign(**{"per iteration": [with_width(row, *JOULES) for row in known.to_dict("records")]})


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
