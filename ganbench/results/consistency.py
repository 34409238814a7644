"""Checks that the lines of a run file fit together: one run, each case once in a round, always with the same work.

The types in ``records`` check single lines. The checks here compare lines, so that every file that is read can be
shown, and no number gets into a wrong row.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import GanbenchError
from ..operations import operation as make_operation
from ..operations.products import FLOOR
from .records import EnergyRecord, Line, Measurement, Resumed, RunEnd, RunHeader, WorkerRecord, check_seconds

OF_TARGET = (Measurement, WorkerRecord, EnergyRecord)


class _Told(msgspec.Struct):
    """What reports read of a run's environment."""

    tuning: list[str] = []
    uncontrolled: list[str] = []
    cpus: list[int] = []
    quota: float | None = None
    allowed_cpus: int | None = None
    logical_cpus: int | None = None


def fault(records: Sequence[Line]) -> tuple[int, str] | None:
    """Return the number of the first line that does not fit, counted from 1, and why; None where all do."""
    header = records[0]
    if not isinstance(header, RunHeader):
        return 1, "it is not a run header"
    try:
        _check_header(header)
    except (GanbenchError, msgspec.MsgspecError, ValueError) as error:
        return 1, str(error)
    labels = {target.label for target in header.targets}
    operations = {*header.operations, FLOOR}
    work: dict[str, tuple[Any, ...]] = {}  # of each operation, the same in every line
    seen: set[tuple[int, str, str, bool]] = set()
    ended = False
    for number, record in enumerate(records[1:], 2):
        if isinstance(record, RunHeader):
            return number, "a second run begins"
        if isinstance(record, Resumed):
            ended = False
            seen = {case for case in seen if case[0] < record.round}
            continue
        if ended:
            return number, "this line is after the end of the run"
        ended = isinstance(record, RunEnd)
        if isinstance(record, OF_TARGET) and record.target not in labels:
            return number, f"'{record.target}' is not among the run's targets ({', '.join(sorted(labels))})"
        if isinstance(record, EnergyRecord) and record.joules and not record.seconds:
            return number, f"an energy of {record.joules:.6g} J in a time of 0 s"
        if isinstance(record, Measurement):
            case = record.round, record.operation, record.target, record.copy
            if record.operation not in operations:
                return number, f"'{record.operation}' is not among its operations ({', '.join(header.operations)})"
            if case in seen:
                return number, f"a second row of {record.operation} on {record.target} in round {record.round}"
            if times := [*record.samples, *record.latency_s, *record.device_s]:
                try:
                    check_seconds(min(times))
                    check_seconds(max(times))
                except ValueError as error:
                    return number, str(error)
            found = record.shape, record.flops, record.bytes
            if work.setdefault(record.operation, found) != found:
                return number, f"shape, FLOP or bytes are not those of {record.operation} in the lines before"
            seen.add(case)
    return None


def _check_header(header: RunHeader) -> None:
    """Raise where what the header says cannot be, or could not be shown."""
    msgspec.convert(header.environment, _Told)
    msgspec.convert(header.settings, dict[str, int | float | str])
    if header.baseline not in (target.label for target in header.targets):
        raise ValueError(f"its baseline '{header.baseline}' is not among its targets")
    for names in (header.operations, [target.label for target in header.targets]):
        name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ValueError(f"'{name}' is named twice")
    for name in header.operations:
        make_operation(name, header.spec)
