"""The JSON Schema of a run file, for programs that read it without ganbench."""

import json

import msgspec

from .records import RUN_FORMAT, Line


def schema() -> str:
    """Return the schema (draft 2020-12) of each line of a run file, as text."""
    made = msgspec.json.schema(Line)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a ganbench run file, format {RUN_FORMAT}",
        "description": "The first line has type 'run'; every other line says in 'type' what it is.",
    }
    return json.dumps(head | made, indent=1) + "\n"
