"""The errors that ganbench raises on purpose, for callers to catch.

    GanbenchError
    ├── UsageError           what was asked for cannot be: exit code 2
    │   ├── SpecError        a model that cannot exist
    │   └── DataError        input data that cannot be read or does not fit
    ├── UnavailableError     a framework, device or optional package that this machine lacks
    ├── UnsupportedError     an operation, dtype or precision that a backend does not have
    └── StorageError         results that cannot be written or read

``BrokenBackendError`` (registry) and ``LeftOutError`` (results/importing) are of this tree and live where they are
raised. ``WorkerLostError`` (measure/process) is not: it becomes a row and reaches no caller. A message says what was
received, what is valid and, where it helps, what to run.
"""

import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral

ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")  # in the name of a file, what is no UTF-8


class GanbenchError(Exception):
    """Base of the tree; the command line prints its message and no traceback."""


class UsageError(GanbenchError):
    """A request that no machine could fulfil."""


class SpecError(UsageError):
    """A model whose layers, batch or optimiser settings are impossible."""


class DataError(UsageError):
    """Input data that is missing, damaged, of the wrong shape or out of range."""


class UnavailableError(GanbenchError):
    """A framework, device or optional package that is not here; the message says what to install."""


class UnsupportedError(GanbenchError):
    """Something a backend does not implement, with its reason."""


class StorageError(GanbenchError):
    """Results that could not be written or read."""


def as_utf8(text: str) -> str:
    """Return a text as UTF-8 can hold it: what is none in the name of a file is escaped, such as ``\\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode()


def from_utf8(text: str) -> str:
    """Return the text that ``as_utf8`` was given."""
    return ESCAPED.sub(lambda one: chr(int(one[1], 16)), text)


def plural(count: int | str, noun: str) -> str:
    """Return ``1 round``, ``3 rounds`` or ``1,200 rounds``; a count that is not known is a text."""
    shown = f"{count:,}" if isinstance(count, Integral) else count
    return f"{shown} {noun}{'' if count == 1 else 's'}"


def unknown(kind: str, received: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not one of ``known``."""
    return UsageError(f"unknown {kind} '{received}' (known: {', '.join(sorted(known))})")


def require(extra: str, what: str, *modules: str) -> None:
    """Raise ``UnavailableError`` where one of the ``modules`` that ``what`` needs is missing: ``extra`` brings it."""
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise UnavailableError(f'{what} needs {" and ".join(missing)}: pip install "ganbench[{extra}]"')


@contextmanager
def refused(kind: type[GanbenchError], what: str, hint: str = "") -> Iterator[None]:
    """Raise an ``OSError`` inside as ``kind``: ``what`` could not be done, the system's reason, and a ``hint``."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}{hint}") from error
