"""Copies someone else's results into the user's folder: each file is checked, nothing is overwritten.

The content of a file decides its place, not its path. A file is imported only if ``load_results`` makes rows of it, so
an import cannot break a later reading. Each file that is left out has a reason.
"""

import collections
import json
import math
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import GanbenchError, StorageError, UsageError, refused
from .archive import MAX_FILE, members
from .loading import load_results
from .records import Measurement, RunHeader
from .store import DamagedResultsWarning, check_writable, parse_run, replace_file, run_path, whole_length

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,~-]{0,149}")  # one part of a path that means the same everywhere
# What a small file can claim to hold without end: rows are made for every case, intervals over all its rounds.
MAX_CASES = 10_000
MAX_ROUNDS = 500
MACHINE = "machine.json"  # what asv knows of a machine, beside its results


class LeftOutError(GanbenchError):
    """The reason why a file is not imported; other files still are."""


@dataclass
class Imported:
    """The result of an import: paths below the results folder, and names of files left out with their reasons."""

    taken: list[Path] = field(default_factory=list)
    same: list[Path] = field(default_factory=list)  # there already, byte for byte
    left_out: list[tuple[str, str]] = field(default_factory=list)


def import_results(path: Path, results: Path) -> Imported:
    """Copy the run files and asv result files of ``path`` into ``results``; all of them, or none.

    Raises ``UsageError`` for an archive that is refused (see ``archive``), for one that holds no results,
    and for a file that differs from the one in its place; ``StorageError`` where the disk does not take it.
    """
    outcome = Imported()
    found: dict[Path, bytes] = {}
    for name, content in members(path):
        try:
            place = _checked(name, content)
        except LeftOutError as error:
            outcome.left_out.append((name, str(error)))
            continue
        if found.setdefault(place, content) != content:
            raise UsageError(f"refused {path}: '{name}' and another file are both {place}, and differ")
    if not found:
        why = "".join(f"; {name}: {reason}" for name, reason in outcome.left_out[:3])
        raise UsageError(
            f"no results in {path}: run files end in .jsonl, asv's result files in .json, and no link is followed{why}"
        )
    for place, content in found.items():
        kept = results / place
        there = _existing(kept)
        if there is None:
            outcome.taken.append(place)
        elif there == content:
            outcome.same.append(place)
        elif place.name == MACHINE:
            outcome.left_out.append(
                (str(place), "another description of this machine is here already, and was not replaced")
            )
        else:
            raise UsageError(f"{kept} exists and differs: nothing was imported; rename it, or choose another --results")
    check_writable(results)
    for place in outcome.taken:
        _keep(results / place, found[place])
    return outcome


def take_run(content: bytes, results: Path, fault: Callable[[RunHeader, object], str]) -> Path:
    """Keep one run file that somebody has sent, checked as ``import_results`` does; return where it is.

    ``fault`` says what is wrong with its header and last record, '' if nothing. The file is whole or not there. Raises
    ``LeftOutError`` for one that is not taken, ``StorageError`` where the disk does not take it.
    """
    if whole_length(content) < len(content):
        raise LeftOutError("its last line is incomplete")
    place = _checked("it.jsonl", content)
    records = parse_run(content, "it")
    assert isinstance(records[0], RunHeader)  # as ``_place_of_run`` made sure
    if why := fault(records[0], records[-1]):
        raise LeftOutError(why)
    kept = results / place
    there = _existing(kept)
    if there is None:
        _keep(kept, content)
    elif there != content:
        raise LeftOutError(f"{kept} exists and differs")
    return kept


def _existing(path: Path) -> bytes | None:
    with refused(StorageError, f"cannot read {path}"):
        return path.read_bytes() if path.exists() else None


def _keep(path: Path, content: bytes) -> None:
    with refused(StorageError, f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(content))


def _checked(name: str, content: bytes) -> Path:
    """Return where a file belongs below the results folder; raises ``LeftOutError`` for what cannot be used."""
    if len(content) > MAX_FILE:
        raise LeftOutError(f"it is larger than {MAX_FILE // 2**20} MiB")
    place = _place_of_run(name, content) if name.lower().endswith(".jsonl") else _place_of_asv(name, content)
    if place.name != MACHINE:
        _check_rows(place, content)
    return place


def _place_of_run(name: str, content: bytes) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedResultsWarning)  # _check_rows will meet it again
        try:
            records = parse_run(content, "it")
        except StorageError as error:
            raise LeftOutError(str(error).removeprefix("it, ")) from error
    header = records[0]
    assert isinstance(header, RunHeader)
    measured = [record for record in records if isinstance(record, Measurement)]
    lines = collections.Counter((line.operation, line.target, line.copy) for line in measured)
    _bound(len(header.operations) * len(header.targets), max(lines.values(), default=0))
    return run_path(Path(), _safe(header.machine), _safe(header.run_id))


def _place_of_asv(path: str, text: bytes) -> Path:
    name = PurePosixPath(path).name
    if name == "benchmarks.json":
        raise LeftOutError("asv writes it anew")
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LeftOutError("not JSON, or incomplete") from error
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        raise LeftOutError("not a file of asv's")
    if name == MACHINE and isinstance(content.get("machine"), str):
        return Path(_safe(content["machine"])) / MACHINE
    about = content.get("params")
    if not isinstance(about, dict) or not isinstance(about.get("machine"), str) or "results" not in content:
        raise LeftOutError("not a result file of asv's")
    try:
        place = list(content["result_columns"]).index("params")
        claimed = [[len(values) for values in stored[place]] for stored in content["results"].values()]
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise LeftOutError("not a result file of asv's") from error
    _bound(sum(map(math.prod, claimed)), 1)
    return Path(_safe(about["machine"])) / _safe(name)


def _bound(cases: int, rounds: int) -> None:
    if cases > MAX_CASES or rounds > MAX_ROUNDS:
        raise LeftOutError(
            f"it would have {cases:,} cases of {rounds:,} rounds (at most {MAX_CASES:,} of {MAX_ROUNDS})"
        )


def _safe(name: str) -> str:
    if not SAFE.fullmatch(name):
        raise LeftOutError(f"it contains the name {name[:100]!a}, which is not a valid name of a file")
    return name


def _check_rows(place: Path, content: bytes) -> None:
    """Raise ``LeftOutError`` unless a results folder that held this file alone could be read."""
    with tempfile.TemporaryDirectory(prefix="ganbench-") as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", RuntimeWarning)  # such as an overflow, at every later reading
        copy = Path(folder) / place
        copy.parent.mkdir(parents=True)
        copy.write_bytes(content)
        try:
            rows = load_results(folder)
        except Exception as error:  # whatever a hostile file makes of our arithmetic, it stays outside
            raise LeftOutError(f"its numbers cannot be used: {type(error).__name__}: {error}") from error
    if rows.empty:
        raise LeftOutError(str(caught[0].message).replace(str(copy), "it") if caught else "nothing was measured in it")
