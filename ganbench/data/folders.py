"""The files of a folder that data is read from, and what else is there."""

import collections
import os
from pathlib import Path


def files_below(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], int]:
    """Return every such file in ``folder`` and below, by name, and how many hidden ones there are."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    paths = [path for path in found if not _hidden(path, folder)]
    return paths, len(found) - len(paths)


def left_below(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return in words what is there besides: files of other kinds, links that lead nowhere, closed folders; or ''."""
    kinds: collections.Counter[str] = collections.Counter()
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            kinds["folders that may not be opened"] += not os.access(path, os.R_OK | os.X_OK)
        elif path.is_dir():
            kinds["links to folders"] += 1
        elif not path.is_file():
            kinds["links that lead nowhere, or no files"] += 1
        elif not _hidden(path, folder) and path.suffix.lower() not in suffixes:
            kinds[path.suffix.lower() or "without a suffix"] += 1
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common() if count)
    return f"{kinds.total()} others are not read: {told}" if told else ""


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
