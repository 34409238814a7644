"""Finds the classes of backends through entry points, and asks them what is known without their frameworks.

Whoever imports a plug-in lets it change everything in the process: clocks, methods, signal handlers. So only workers
import it. A process that does not measure asks through ``about`` and ``variables``: a class of ganbench's own answers
there, that of a plug-in in a process of its own (``python -m ganbench.registry``).
"""

import contextlib
import functools
import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any, TypeVar

import msgspec

from ..backend import API_VERSION, Backend, Probe
from ..errors import GanbenchError, UsageError, unknown
from ..launch import answering, command
from .interpreters import require

GROUP = "ganbench.backends"
PATIENCE_S = 30.0  # for the import of a plug-in, which should not import its framework
MOST_SAID = 500  # letters of what it said last
T = TypeVar("T")


class BrokenBackendError(GanbenchError):
    """An installed plug-in whose own code raises; all other backends still work."""


class About(msgspec.Struct, frozen=True):
    """What the class of a backend says of itself, as in ``Backend``, and what is installed of its framework."""

    modes: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    device_kinds: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    formats: tuple[str, ...]
    forks: bool
    probe: Probe


class Answer(msgspec.Struct, frozen=True):
    """What the process of a plug-in says: the value it was asked for, or why it has none."""

    value: Any = None
    error: str = ""


def names() -> list[str]:
    """Return the names of all installed backends; what plug-ins said before is forgotten, as it may have changed."""
    _said.cache_clear()
    _found_in.cache_clear()
    return sorted(_entry_points())


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return _found_in(tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or os.curdir).st_mtime_ns  # noqa: PTH116 (asked often: a Path takes longer than the call)
    except OSError:  # no such folder
        return 0


@functools.lru_cache(maxsize=1)
def _found_in(folders: tuple[tuple[str, int], ...]) -> dict[str, importlib.metadata.EntryPoint]:
    """Read every installed distribution; again only after a change in ``folders``, those of Python."""
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        other = found.get(entry.name)
        if other is not None and other.value != entry.value:
            raise UsageError(f"two backends are called '{entry.name}': {other.value} and {entry.value}; uninstall one")
        found[entry.name] = entry
    return found


def _entry(name: str) -> importlib.metadata.EntryPoint:
    entries = _entry_points()
    if name not in entries:
        raise unknown("backend", name, names())  # which looks again: it may be half installed
    return entries[name]


def load(name: str) -> type[Backend]:
    """Return the class of the backend called ``name``, without importing its framework.

    This imports the plug-in, so it is for workers only. Raises ``UsageError`` for an unknown name and
    ``BrokenBackendError`` for a plug-in that does not load.
    """
    entry = _entry(name)
    try:
        found = entry.load()
    except Exception as error:  # whatever another package raises while it is imported
        raise BrokenBackendError(f"backend '{name}' does not load: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BrokenBackendError(f"backend '{name}' is {found!r}, not a subclass of ganbench.backend.Backend")
    if found.api_version != API_VERSION:
        raise BrokenBackendError(
            f"backend '{name}' was written for interface {found.api_version}; this ganbench has {API_VERSION}"
        )
    return found


def about(name: str, python: str = "") -> About:
    """Return what the backend called ``name`` says of itself, and what is installed of it, here or in ``python``.

    Raises ``UsageError`` and ``BrokenBackendError``, and ``UnavailableError`` for a Python that cannot be asked.
    """
    return _ask(About, name, python=python)


def variables(name: str, device: str, dtype: str, precision: str, cache: str, python: str) -> dict[str, str]:
    """Return what ``Backend.environment`` of the backend called ``name`` gives; raises as ``about`` does."""
    about(name, python)  # or one that hangs would be waited for again
    return _ask(dict[str, str], name, device, dtype, precision, cache, python=python)


def is_own(name: str) -> bool:
    """Whether a backend is one of ganbench's own: its class says the same of itself in every interpreter."""
    found = _entry_points().get(name)
    return found is not None and _is_own(found)


def _is_own(entry: importlib.metadata.EntryPoint) -> bool:
    return entry.module.startswith("ganbench.backends.")


def _ask(kind: type[T], name: str, *asked: str, python: str = "") -> T:
    if not python and _is_own(_entry(name)):
        value = answer(name, *asked)
    else:
        said = _said(python, name, *asked)
        if said.error:
            raise BrokenBackendError(said.error)
        value = said.value
    return msgspec.convert(value, kind)


def answer(name: str, *asked: str) -> Any:
    """Have the class answer, here: its variables if the arguments of ``environment`` are given, else what it is."""
    cls = load(name)
    if asked:
        with _code_of(name, "its environment"):
            return msgspec.convert(cls.environment(*asked), dict[str, str])
    with _code_of(name, "what is installed"):
        probe = cls.probe()
    with _code_of(name, "its modes, devices and formats"):
        found = msgspec.to_builtins([dict(cls.modes), cls.device_kinds, cls.formats, cls.forks, probe])
        return msgspec.to_builtins(msgspec.convert(dict(zip(About.__struct_fields__, found, strict=True)), About))


@contextlib.contextmanager
def _code_of(name: str, asked_for: str) -> Iterator[None]:
    """Turn every exception of a plug-in's own code into a ``BrokenBackendError``."""
    try:
        yield
    except GanbenchError:
        raise
    except Exception as error:
        raise BrokenBackendError(
            f"backend '{name}' fails when asked for {asked_for}: {type(error).__name__}: {error}"
        ) from error


@functools.cache
def _said(python: str, name: str, *asked: str) -> Answer:
    """Return what the process of a plug-in answers; whether it does or not, it is not asked again until ``names``."""
    if python:
        require(python)
    with tempfile.TemporaryFile() as heard, tempfile.TemporaryFile() as errors:
        process = answering(
            command("ganbench.registry", str(os.getpid()), name, *asked, python=python), heard.fileno(), errors,
            {**os.environ}, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            ended = f"ended with exit code {process.wait(PATIENCE_S)}"
        except subprocess.TimeoutExpired:
            ended = f"was killed, since it did not end within {PATIENCE_S:g} s"
        finally:
            _kill(process)
        line, last = _last_line(heard), _last_line(errors)
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(line, type=Answer)
    words = f": {last.decode(errors='replace').strip()[-MOST_SAID:]}" if last else ""
    return Answer(error=f"backend '{name}' does not answer: the process that imports it {ended}{words}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what the process of a plug-in has left in its group, and the process itself if it is not gone."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _last_line(file: IO[bytes]) -> bytes:
    file.seek(0)
    return (file.read().splitlines() or [b""])[-1]
