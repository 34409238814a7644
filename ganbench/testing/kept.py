"""What the oracle answered, on disk: one answer of a large model takes a minute, and every test process asks for it.

A file belongs to the code that made it, to NumPy and to the kernels that multiplied; another of any is another file.
While a process computes an answer, others that ask for it wait. A damaged file is as good as none.
"""

import functools
import hashlib
import platform
import shutil
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import threadpoolctl

from ..errors import StorageError
from ..machine.lock import try_lock
from ..operation import Operation
from ..results.store import replace_file
from ..verification.answers import Answers, read_answers, write_answers

PACKAGE = Path(__file__).parents[1]
MAKERS = (".", "layers", "operations", "verification")  # the folders whose code makes an answer
DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


class KeptAnswers:
    """Answers in ``folder``; without one, or where it cannot be written, each process computes its own."""

    folder: Path | None = None

    def get(self, made: Operation, conditions: object, compute: Callable[[], Answers]) -> Answers:
        """Return what is kept for an operation under conditions, or else return and keep what ``compute`` returns."""
        if self.folder is None or type(made).__module__.partition(".")[0] != "ganbench":  # a test's own may change
            return compute()
        question = f"{made} {conditions}"
        place = self.folder / _code() / hashlib.sha256(f"{question}\n{_kernels()}".encode()).hexdigest()[:32]
        try:
            place.mkdir(parents=True, exist_ok=True)
            for other in set(self.folder.iterdir()) - {place.parent}:  # answers of other code, up to a gigabyte
                shutil.rmtree(other, ignore_errors=True)
        except OSError:
            return compute()
        file = place / "answers.npz"
        with try_lock(place, wait=True):
            with suppress(*DAMAGE):
                return read_answers(file)
            answers = compute()
            with suppress(OSError, StorageError):
                replace_file(file, lambda stream: write_answers(stream, answers))
        return answers


@functools.cache
def _code() -> str:
    """Return a hash over every file of the package whose code makes an answer."""
    hasher = hashlib.sha256()
    for file in sorted(file for folder in MAKERS for file in (PACKAGE / folder).glob("*.py")):
        hasher.update(f"{file.relative_to(PACKAGE)}\n".encode() + file.read_bytes())
    return hasher.hexdigest()[:16]


@functools.cache
def _kernels() -> str:
    """Return what computes the numbers of NumPy here."""
    blas = {(pool["internal_api"], pool.get("architecture")) for pool in threadpoolctl.threadpool_info()}
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return f"{np.__version__} {platform.machine()} {sorted(blas, key=str)} {sorted(found)}"
