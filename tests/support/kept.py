"""What a run has left in its file, and how to go on with it."""

import json
import subprocess

from commands import GANBENCH
from patience import LIMIT_S

from ganbench.results.store import read_run


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def counted(path):
    """Return the measurements that count, by (round, operation, target, copy); each is there once."""
    rows = [record for record in read_run(path) if type(record).__name__ == "Measurement"]
    found = {(row.round, row.operation, row.target, row.copy): row for row in rows}
    assert len(found) == len(rows)
    return found


def resume(path, *options, env):
    return subprocess.run(
        [*GANBENCH, "compare", "--resume", str(path), "--format", "json", *options],
        env=env, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
