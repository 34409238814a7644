"""Finds backends through entry points, ganbench's own and those of plug-ins; a target names one of them.

A target is ``backend[.mode][@device]``: ``torch``, ``torch.textbook``, ``jax@cuda:0``.
"""

import contextlib
from collections.abc import Iterable, Sequence

import msgspec

from .. import gpus
from ..errors import UsageError, unknown
from .plugins import About, BrokenBackendError, about, load, names, variables

__all__ = [
    "About", "BrokenBackendError", "Target", "about", "available", "environment", "library_of", "load", "names",
    "parse_target", "parse_targets", "split_list", "version",
]  # fmt: skip


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


def version(name: str) -> str:
    """Return the version of a backend's framework; '' if it is not installed or unknown."""
    try:
        return about(name).probe.version
    except BrokenBackendError:
        return ""


def environment(target: Target, dtype: str, precision: str, cache: str) -> dict[str, str]:
    """Return the variables that a target's process needs; ``cache`` is a folder for compiled code.

    Raises ``BrokenBackendError``.
    """
    own = variables(target.backend, target.device, dtype, precision, cache)
    return own if target.device == "cpu" else {**gpus.ORDER, **own}


def available() -> list[str]:
    """Return every mode of every backend that is installed, on every device that it finds here."""
    found = []
    for name in names():
        with contextlib.suppress(BrokenBackendError):  # 'ganbench list' says why
            said = about(name)
            found += [_target(said, name, mode, device).label for device in said.probe.devices for mode in said.modes]
    return found


def parse_target(text: str) -> Target:
    """Return the target that ``text`` names; raises ``UsageError`` saying what is valid.

    The modes of a broken plug-in are not known: its target is taken as it is, and its row will have the reason.
    """
    rest, at, device = text.strip().partition("@")
    name, dot, mode = rest.partition(".")
    try:
        said = about(name)
    except BrokenBackendError:
        return Target(name, mode, device or "cpu", text.strip())
    if (dot and not mode) or (mode and mode not in said.modes):
        raise unknown(f"mode of {name}", mode, said.modes)
    if at:
        device = _device(name, said, device)
    return _target(said, name, mode, device)


def parse_targets(texts: Sequence[str], devices: Sequence[str] = ()) -> list[Target]:
    """Return the targets named by ``texts``, those without a device once for each of ``devices``.

    If a backend can never use one of ``devices``, it is left out for that device. If it can use none of them, or if a
    target is named twice, a ``UsageError`` is raised.
    """
    targets: list[Target] = []
    known = names()
    for text in texts:
        target = parse_target(text)
        wanted = [target]
        with contextlib.suppress(BrokenBackendError):  # one that is broken has no known devices
            if devices and "@" not in text:
                said, name = about(target.backend), target.backend
                fitting = [device for device in devices if device.partition(":")[0] in said.device_kinds]
                if not fitting:
                    _device(name, said, devices[0])
                wanted = [_target(said, name, target.mode, _device(name, said, device)) for device in fitting]
        targets += wanted
    if not targets:
        raise UsageError(f"no backends named (known: {', '.join(known)})")
    for place, target in enumerate(targets):
        if target in targets[:place]:
            raise UsageError(f"target '{target.label}' is named twice: {target.whole}")
    return targets


def library_of(target: Target, targets: Sequence[Target]) -> Target:
    """Return the target whose ceilings and floor are used for all ``targets`` of the same backend and device."""
    return next(other for other in targets if (other.backend, other.device) == (target.backend, target.device))


def _target(said: About, name: str, mode: str, device: str) -> Target:
    default_mode, default_device = next(iter(said.modes)), said.device_kinds[0]
    mode, device = mode or default_mode, device or default_device
    label = name + f".{mode}" * (mode != default_mode) + f"@{device}" * (device != default_device)
    return Target(name, mode, device, label)


def _device(name: str, said: About, device: str) -> str:
    """Return the device in its one spelling: ``cuda:0`` is ``cuda``."""
    kind, colon, index = device.partition(":")
    if kind not in said.device_kinds or (colon and not (kind != "cpu" and index.isdecimal())):
        known = [*said.device_kinds, *(f"{kind}:N" for kind in said.device_kinds if kind != "cpu")]
        raise unknown(f"device of {name}", device, known)
    return kind if index in ("", "0") else f"{kind}:{int(index)}"


def split_list(text: str | Iterable[str]) -> list[str]:
    """Return the names of a comma-separated list, or of any iterable of names."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]
