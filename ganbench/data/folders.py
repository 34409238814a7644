"""The files of a folder that data is read from, and what else is there."""

import collections
import os
from pathlib import Path


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return every such file in ``folder`` and below, by name, without hidden ones."""
    return sorted(path for path in folder.rglob("*") if _is_one(path, folder, suffixes))


def left_below(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return in words what else is there: hidden files, other kinds, links that lead nowhere, closed folders; or ''."""
    kinds: collections.Counter[str] = collections.Counter()
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            kinds["folders that may not be opened"] += not os.access(path, os.R_OK | os.X_OK)
        elif path.is_dir():
            kinds["links to folders"] += 1
        elif not path.is_file():
            kinds["links that lead nowhere, or no files"] += 1
        elif _hidden(path, folder):
            kinds["hidden files"] += 1
        elif not _is_one(path, folder, suffixes):
            kinds[path.suffix.lower() or "without a suffix"] += 1
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common() if count)
    return f"not read: {told}" if told else ""


def _is_one(path: Path, folder: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file() and not _hidden(path, folder)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
