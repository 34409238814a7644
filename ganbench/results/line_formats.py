"""The formats of run files that are read: what a line of each may be, and the JSON Schema of that."""

import json
from statistics import fmean
from typing import Any

import msgspec
from msgspec import field

from .records import (
    RUN_FORMAT,
    Average,
    CeilingRecord,
    Disturbance,
    EnergyRecord,
    Line,
    Measurement,
    PowerRecord,
    Resumed,
    RunEnd,
    RunHeader,
    Sampled,
    StrayRecord,
    WorkerRecord,
    summary,
)


class Blocks(Sampled, tag="measurement", frozen=True, kw_only=True):
    """One case in one round as format 1 has it: in blocks, one in each pass, each with its own disturbance."""

    cores: list[Average] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)

    def in_visits(self) -> Measurement:
        """Return the same as format 2 has it."""
        same = {name: getattr(self, name) for name in Sampled.__struct_fields__}
        cores = fmean(self.cores) if self.cores else None
        disturbance = summary(self.disturbances) if self.disturbances else None
        return Measurement(**same, passes=[*range(len(self.samples))], cores=cores, disturbance=disturbance)


Line1 = RunHeader | WorkerRecord | Blocks | CeilingRecord | PowerRecord | EnergyRecord | StrayRecord | Resumed | RunEnd
FORMATS: dict[int, Any] = {1: Line1, RUN_FORMAT: Line}
_decoders = {number: msgspec.json.Decoder(lines) for number, lines in FORMATS.items()}


def decoded(line: bytes, number: int) -> Line:
    """Return the record of a line of this format, as ``RUN_FORMAT`` has it."""
    return _as_now(_decoders[number].decode(line))


def all_decoded(lines: bytes, number: int) -> list[Line]:
    """Return the records of several lines, in two thirds of the time."""
    records = _decoders[number].decode_lines(lines)
    return records if number == RUN_FORMAT else [*map(_as_now, records)]


def _as_now(record: Any) -> Line:
    return record.in_visits() if isinstance(record, Blocks) else record


def schema(number: int) -> str:
    """Return the schema (draft 2020-12) of each line of a run file of this format, as text."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a ganbench run file, format {number}",
        "description": "The first line has type 'run'; every other line says in 'type' what it is.",
    }
    return json.dumps(head | msgspec.json.schema(FORMATS[number]), indent=1) + "\n"
