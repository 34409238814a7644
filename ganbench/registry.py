"""Backends come through entry points, ours and other people's alike; targets are how they are named.

A target is ``backend[.mode][@device]``: ``torch``, ``torch.textbook``, ``jax@cuda:0``.
"""

import importlib.metadata
from collections.abc import Iterable, Sequence

import msgspec

from .backend import API_VERSION, Backend
from .errors import GanbenchError, UsageError, unknown

GROUP = "ganbench.backends"


class Target(msgspec.Struct, frozen=True):
    """One backend in one mode on one device."""

    backend: str
    mode: str
    device: str
    label: str  # as short as it can be said: the default mode and the default device are left out

    def __str__(self) -> str:
        return self.label


class BrokenBackendError(GanbenchError):
    """An installed plug-in that cannot be loaded; it never takes the others down."""


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


def available() -> list[str]:
    """Return every mode of every backend that is installed, on every device that it finds here."""
    found = []
    for name in names():
        try:
            cls = load(name)
        except BrokenBackendError:
            continue  # 'ganbench list' says why
        found += [_target(cls, name, mode, device).label for device in cls.probe().devices for mode in cls.modes]
    return found


def parse_target(text: str) -> Target:
    """Return the target that ``text`` names; raises ``UsageError`` saying what is valid."""
    rest, at, device = text.strip().partition("@")
    name, dot, mode = rest.partition(".")
    cls = load(name)
    if (dot and not mode) or (mode and mode not in cls.modes):
        raise unknown(f"mode of {name}", mode, cls.modes)
    if at:
        device = _device(name, cls, device)
    return _target(cls, name, mode, device)


def parse_targets(texts: Sequence[str], devices: Sequence[str] = ()) -> list[Target]:
    """Return the targets named by ``texts``, those without a device once for each of ``devices``.

    A backend that can never have one of ``devices`` is left out for that device; one that can have none
    of them is an error, as is naming the same target twice.
    """
    targets: list[Target] = []
    for text in texts:
        target = parse_target(text)
        wanted = [target]
        if devices and "@" not in text:
            cls = load(target.backend)
            fitting = [device for device in devices if _kind(device) in cls.device_kinds]
            if not fitting:
                _device(target.backend, cls, devices[0])
            wanted = [
                _target(cls, target.backend, target.mode, _device(target.backend, cls, device)) for device in fitting
            ]
        targets += wanted
    if not targets:
        raise UsageError(f"no backends named (known: {', '.join(names())})")
    seen: dict[str, str] = {}
    for target in targets:
        if target.label in seen:
            full = f"{target.backend}.{target.mode}@{target.device}"
            raise UsageError(f"target '{target.label}' is named twice: {full}")
        seen[target.label] = target.label
    return targets


def _target(cls: type[Backend], name: str, mode: str, device: str) -> Target:
    default_mode, default_device = next(iter(cls.modes)), cls.device_kinds[0]
    mode, device = mode or default_mode, device or default_device
    label = name
    if mode != default_mode:
        label += f".{mode}"
    if device != default_device:
        label += f"@{device}"
    return Target(name, mode, device, label)


def _kind(device: str) -> str:
    return device.partition(":")[0]


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
