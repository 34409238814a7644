"""asv's result files, as rows of the same table that ``compare`` fills.

Reads asv's format 2 directly, so that results can be read where asv is not installed. asv flattens values in
``itertools.product`` order of the parameters, writes them as reprs, NaN for skipped and null for failed.
"""

import ast
import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .. import registry
from ..errors import GanbenchError, StorageError
from ..operation import Operation
from ..operations import OPERATIONS
from .case import hardware
from .records import DIGITS, check_seconds
from .store import content_of

ASV_FORMAT = 2
MAX_CASES = 1_000_000  # of one benchmark; a damaged file must not keep the loader busy for ever
NOT_RESULTS = ("machine.json", "benchmarks.json")
# Tracked values beside the time of the same case: benchmark method -> column.
TRACKED = {
    "track_first_call": "first_call_s",
    "track_worst_error": "max_rel_error",
    "track_host_peak": "host_peak_bytes",
    "track_device_peak": "device_peak_bytes",
}
Row = dict[str, Any]


def is_asv_file(path: Path) -> bool:
    """Whether a file lies where asv keeps results; asv's own records of machine and suite do not count."""
    return path.suffix == ".json" and path.name not in NOT_RESULTS


def read_asv(path: Path) -> list[Row]:
    """Return one row per case of an asv result file; raises ``StorageError`` for anything else."""
    try:
        content = json.loads(content_of(path))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is not whole JSON (was asv killed while it wrote?): {error}") from error
    if not isinstance(content, dict) or "result_columns" not in content:
        raise StorageError(f"{path} is not a result file of asv")
    if content.get("version") != ASV_FORMAT:
        raise StorageError(f"{path} has asv's format {content.get('version')}; this ganbench reads format {ASV_FORMAT}")
    try:
        return _rows(path, content)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, SyntaxError) as error:
        raise StorageError(f"{path} does not hold what asv writes: {type(error).__name__}: {error}") from error


def _rows(path: Path, content: dict[str, Any]) -> list[Row]:
    common = {
        "run_id": path.stem,
        "machine": content["params"]["machine"],
        "source": "asv",
        "precision": "ieee",
        "caches": "warm",
        "data": DIGITS,
        "hardware": hardware(content["params"]["num_cpu"], content["params"].get("cpu")),
        "threads": int(content["params"]["num_cpu"]),
        "commit": content["commit_hash"],
        "dirty": "dirty" in content["requirements"],
    }
    rows: dict[tuple[str, ...], Row] = {}
    tracked: list[tuple[tuple[str, ...], str, Any]] = []
    for name, stored in content["results"].items():
        # Trailing columns that are empty are left out by asv.
        fields = dict(zip(content["result_columns"], stored, strict=False))
        module, _, method = name.split(".") if name.count(".") == 2 else ("", "", "")
        if module not in OPERATIONS:
            continue  # another project's suite
        names = ("shape", "target", "dtype")
        if math.prod(map(len, fields["params"])) > MAX_CASES:
            raise ValueError(f"{name} has more than {MAX_CASES:,} cases")
        cases = itertools.product(*[[ast.literal_eval(value) for value in values] for values in fields["params"]])
        for index, case in enumerate(cases):
            key = (module, *case)
            if method in TRACKED:
                tracked.append((key, TRACKED[method], fields["result"][index] if fields["result"] else None))
                continue
            row = common | dict(zip(names, case, strict=True)) | {"operation": module}
            row |= {"timestamp": np.datetime64(fields["started_at"], "ms"), **_parts(row["target"])}
            row["framework_version"] = content["requirements"].get(row["backend"])
            rows[key] = row | _timed(fields, index)
    for key, column, value in tracked:
        if key in rows and value is not None and not math.isnan(value):
            rows[key][column] = value
    for row in rows.values():
        _derive(row)
    return list(rows.values())


@functools.cache
def _parts(label: str) -> dict[str, str]:
    try:
        target = registry.parse_target(label)
    except GanbenchError:  # a backend that is not installed here: its default mode is not known
        rest, _, device = label.partition("@")
        name, _, mode = rest.partition(".")
        return {"backend": name, "mode": mode, "device": device}
    return {"backend": target.backend, "mode": target.mode, "device": target.device}


def _timed(fields: dict[str, Any], index: int) -> Row:
    """Return the time columns of one case; asv's interval is of 99 %, over the visits to its processes."""

    def pick(name: str) -> Any:
        values = fields.get(name)
        return values[index] if values else None

    result = pick("result")
    if result is None:
        return {"status": "failed", "reason": "it failed under asv; asv printed the reason"}
    if math.isnan(result):
        return {"status": "unavailable", "reason": "skipped by asv (n/a): missing here, or not supported"}
    for seconds in (result, *(pick("samples") or ())):
        check_seconds(seconds)
    row: Row = {"status": "ok", "reason": "", "median_s": result, "number": pick("stats_number")}
    row |= {"ci_low_s": pick("stats_ci_99_a"), "ci_high_s": pick("stats_ci_99_b"), "rounds": 1}
    low, high = pick("stats_q_25"), pick("stats_q_75")
    if low is not None and high is not None:
        row["iqr_s"] = high - low
    if samples := pick("samples"):
        row["samples"] = samples
    return row


def _derive(row: Row) -> None:
    """Fill in what follows from the operation and its shape."""
    found = _work(row["operation"], row["shape"])
    if found is None:
        return
    made, preset = found
    row |= {"flops": made.flops, "bytes": made.bytes(row["dtype"]), "preset": preset, "model": preset}
    row |= {"batch": made.shape.batch, "critic_steps": made.shape.get("critic_steps")}
    if row["status"] == "ok":
        row["gflops"] = made.flops / row["median_s"] / 1e9


@functools.cache
def _work(name: str, shape: str) -> tuple[Operation, str | None] | None:
    """Return the operation that has ``shape``, and the preset it belongs to where only a preset can tell."""
    try:
        made = OPERATIONS[name].sized([int(size) for size in shape.split("x")])
    except ValueError:  # of an older suite, or of a model that is no preset
        return None
    return made, made.spec.name if name == "gan_iteration" else None
