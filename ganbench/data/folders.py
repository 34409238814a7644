"""The files of a folder that data is read from."""

from pathlib import Path


def files_below(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], int]:
    """Return every such file in ``folder`` and below, by name, and how many hidden ones there are."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    paths = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return paths, len(found) - len(paths)
