"""What the energy records of a run say of one case."""

from statistics import median
from typing import Any

from ..registry import Target
from .records import EnergyRecord, PowerRecord
from .run import Run
from .statistics import typical


def columns(run: Run, operation: str, target: Target) -> dict[str, Any]:
    """Return the columns on the energy of an iteration; nothing where it is not known."""
    found = {
        one.round: one
        for one in run.records
        if isinstance(one, EnergyRecord) and (one.operation, one.target) == (operation, target.label) and one.joules > 0
    }
    if not found:
        return {}
    idle = {
        one.round: one.watts
        for one in run.records
        if isinstance(one, PowerRecord) and one.device == target.device and one.watts is not None
    }
    location = typical([one.joules for one in found.values()])
    row: dict[str, Any] = dict(zip(("joules", "joules_low", "joules_high"), location, strict=True))
    row["watts"] = median(one.joules / one.seconds for one in found.values())
    if above := [one.joules - idle[number] * one.seconds for number, one in found.items() if number in idle]:
        row |= {"joules_above_idle": median(above), "idle_w": median(idle.values())}
    return row
