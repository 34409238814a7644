"""Finds backends through entry points, ganbench's own and those of plug-ins; a target names one of them.

A target is ``backend[.mode][@device]``: ``torch``, ``torch.textbook``, ``jax@cuda:0``.
"""

import contextlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from . import gpus
from .backend import API_VERSION, Backend, Probe
from .errors import GanbenchError, UsageError, unknown

GROUP = "ganbench.backends"


class Target(msgspec.Struct, frozen=True):
    """One backend in one mode on one device."""

    backend: str
    mode: str
    device: str
    label: str  # as short as it can be said: the default mode and the default device are left out

    @property
    def whole(self) -> str:
        """The name with mode and device, which says the same whatever the defaults are."""
        return f"{self.backend}.{self.mode}@{self.device}" if self.mode else self.label

    def __str__(self) -> str:
        return self.label


class BrokenBackendError(GanbenchError):
    """An installed plug-in whose own code raises; all other backends still work."""


def names() -> list[str]:
    """Return the names of all installed backends."""
    return sorted(_entry_points())


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        other = found.get(entry.name)
        if other is not None and other.value != entry.value:
            raise UsageError(f"two backends are called '{entry.name}': {other.value} and {entry.value}; uninstall one")
        found[entry.name] = entry
    return found


def load(name: str) -> type[Backend]:
    """Return the class of the backend called ``name``, without importing its framework.

    Raises ``UsageError`` for an unknown name and ``BrokenBackendError`` for a plug-in that does not load.
    """
    entries = _entry_points()
    if name not in entries:
        raise unknown("backend", name, entries)
    try:
        found = entries[name].load()
    except Exception as error:  # whatever another package raises while it is imported
        raise BrokenBackendError(f"backend '{name}' does not load: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BrokenBackendError(f"backend '{name}' is {found!r}, not a subclass of ganbench.backend.Backend")
    if found.api_version != API_VERSION:
        raise BrokenBackendError(
            f"backend '{name}' was written for interface {found.api_version}; this ganbench has {API_VERSION}"
        )
    return found


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


def probe(name: str) -> Probe:
    """Return the ``Probe`` of the backend called ``name``; raises ``BrokenBackendError``."""
    cls = load(name)
    with _code_of(name, "what is installed"):
        return cls.probe()


def version(name: str) -> str:
    """Return the version of a backend's framework; '' if it is not installed or unknown."""
    try:
        return probe(name).version
    except BrokenBackendError:
        return ""


def environment(target: Target, dtype: str, precision: str, cache: str) -> dict[str, str]:
    """Return the variables that a target's process needs; ``cache`` is a folder for compiled code.

    Raises ``BrokenBackendError``.
    """
    cls = load(target.backend)
    with _code_of(target.backend, "its environment"):
        own = msgspec.convert(cls.environment(target.device, dtype, precision, cache), dict[str, str])
    return own if target.device == "cpu" else {**gpus.ORDER, **own}


def available() -> list[str]:
    """Return every mode of every backend that is installed, on every device that it finds here."""
    found = []
    for name in names():
        with contextlib.suppress(BrokenBackendError):  # 'ganbench list' says why
            cls = load(name)
            found += [_target(cls, name, mode, device).label for device in probe(name).devices for mode in cls.modes]
    return found


def parse_target(text: str) -> Target:
    """Return the target that ``text`` names; raises ``UsageError`` saying what is valid.

    The modes of a broken plug-in are not known: its target is taken as it is, and its row will have the reason.
    """
    rest, at, device = text.strip().partition("@")
    name, dot, mode = rest.partition(".")
    try:
        cls = load(name)
    except BrokenBackendError:
        return Target(name, mode, device or "cpu", text.strip())
    if (dot and not mode) or (mode and mode not in cls.modes):
        raise unknown(f"mode of {name}", mode, cls.modes)
    if at:
        device = _device(name, cls, device)
    return _target(cls, name, mode, device)


def parse_targets(texts: Sequence[str], devices: Sequence[str] = ()) -> list[Target]:
    """Return the targets named by ``texts``, those without a device once for each of ``devices``.

    If a backend can never use one of ``devices``, it is left out for that device. If it can use none of them, or if a
    target is named twice, a ``UsageError`` is raised.
    """
    targets: list[Target] = []
    for text in texts:
        target = parse_target(text)
        wanted = [target]
        if devices and target.mode and "@" not in text:  # a broken plug-in has no mode
            cls = load(target.backend)
            fitting = [device for device in devices if device.partition(":")[0] in cls.device_kinds]
            if not fitting:
                _device(target.backend, cls, devices[0])
            wanted = [
                _target(cls, target.backend, target.mode, _device(target.backend, cls, device)) for device in fitting
            ]
        targets += wanted
    if not targets:
        raise UsageError(f"no backends named (known: {', '.join(names())})")
    for place, target in enumerate(targets):
        if target in targets[:place]:
            raise UsageError(f"target '{target.label}' is named twice: {target.whole}")
    return targets


def library_of(target: Target, targets: Sequence[Target]) -> Target:
    """Return the target whose ceilings and floor are used for all ``targets`` of the same backend and device."""
    return next(other for other in targets if (other.backend, other.device) == (target.backend, target.device))


def _target(cls: type[Backend], name: str, mode: str, device: str) -> Target:
    default_mode, default_device = next(iter(cls.modes)), cls.device_kinds[0]
    mode, device = mode or default_mode, device or default_device
    label = name + f".{mode}" * (mode != default_mode) + f"@{device}" * (device != default_device)
    return Target(name, mode, device, label)


def _device(name: str, cls: type[Backend], device: str) -> str:
    """Return the device in its one spelling: ``cuda:0`` is ``cuda``."""
    kind, colon, index = device.partition(":")
    if kind not in cls.device_kinds or (colon and not (kind != "cpu" and index.isdecimal())):
        known = [*cls.device_kinds, *(f"{kind}:N" for kind in cls.device_kinds if kind != "cpu")]
        raise unknown(f"device of {name}", device, known)
    return kind if index in ("", "0") else f"{kind}:{int(index)}"


def split_list(text: str | Iterable[str]) -> list[str]:
    """Return the names of a comma-separated list, or of any iterable of names."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]
