"""The folder of a training: it belongs to one, and is written by one process at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from ..machine.lock import try_lock
from .saving import STATE


def check_free(folder: Path, resume: Path | None) -> None:
    """Raise ``UsageError`` where ``folder`` holds a training other than the one that is resumed."""
    state = folder / STATE
    if state.exists() and not (resume is not None and resume.exists() and state.samefile(resume)):
        raise UsageError(f"{folder} holds a training already: go on with --resume {state}, or choose another --output")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other trainings out of ``folder``; the system frees it when this process ends, however it ends.

    Raises ``UsageError`` where another training has it.
    """
    with try_lock(folder) as free:
        if not free:
            raise UsageError(f"another training is writing into {folder}: wait for it, or choose another --output")
        yield
