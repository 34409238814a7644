"""Finds backends through entry points, ganbench's own and those of plug-ins; a target names one of them.

A target is ``backend[.mode][@device]``: ``torch``, ``torch.textbook``, ``jax@cuda:0``.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from .. import gpus
from ..errors import UnavailableError, UsageError, unknown
from . import interpreters
from .interpreters import check_python
from .plugins import About, BrokenBackendError, about, is_own, load, names, variables

__all__ = [
    "OURS", "UNKNOWN", "About", "BrokenBackendError", "Target", "about", "available", "check_python", "environment",
    "homes", "library_of", "load", "names", "parse_pythons", "parse_target", "parse_targets", "split_list", "version",
]  # fmt: skip

UNKNOWN = (BrokenBackendError, UnavailableError)  # a backend that cannot be asked; its row will have the reason
OURS: Mapping[str, str] = MappingProxyType({})  # no other interpreter than this one


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """One backend in one mode on one device."""

    backend: str
    mode: str
    device: str
    label: str  # as short as it can be said: the default mode and the default device are left out
    python: str = ""  # the interpreter that it runs in; '': the one that runs ganbench

    @property
    def whole(self) -> str:
        """The name with mode and device, which says the same whatever the defaults are."""
        return f"{self.backend}.{self.mode}@{self.device}" if self.mode else self.label

    def __str__(self) -> str:
        return self.label

    @property
    def library(self) -> str:
        """What its framework is called; with the device, since in another Python it may be another version."""
        return f"{self.backend}@{self.device}" if self.python else self.backend


def version(name: str, python: str = "") -> str:
    """Return the version of a backend's framework; '' if it is not installed or unknown."""
    try:
        return about(name, python).probe.version
    except UNKNOWN:
        return ""


def parse_pythons(text: str | Iterable[str]) -> dict[str, str]:
    """Return which Python each ``BACKEND`` or ``BACKEND@DEVICE`` runs in; raises ``UsageError``."""
    found = interpreters.parse(split_list(text))
    targets = {key: parse_target(key, found) for key in found}
    return {f"{to.backend}@{to.device}" if "@" in key else key: found[key] for key, to in targets.items()}


def _python_of(pythons: Mapping[str, str], name: str, device: str) -> str:
    return pythons.get(f"{name}@{device}") or pythons.get(name, "")


def homes(pythons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return every ``BACKEND`` here, and every ``BACKEND@DEVICE`` with a Python of its own, with its Python."""
    return [(key, pythons.get(key, "")) for key in sorted({*names(), *pythons})]


def environment(target: Target, dtype: str, precision: str, cache: str) -> dict[str, str]:
    """Return the variables that a target's process needs; ``cache`` is a folder for compiled code.

    Raises ``BrokenBackendError``, and ``UnavailableError`` for a Python that cannot run it.
    """
    own = variables(target.backend, target.device, dtype, precision, cache, target.python)
    return own if target.device == "cpu" else {**gpus.ORDER, **own}


def available(pythons: Mapping[str, str] = OURS) -> list[str]:
    """Return every mode of every backend that is installed, on every device that it finds here."""
    found = []
    for name in sorted({*names(), *(key.partition("@")[0] for key in pythons)}):
        with contextlib.suppress(*UNKNOWN):  # 'ganbench list' says why
            said = _about(name, pythons)
            for device in said.device_kinds:
                with contextlib.suppress(*UNKNOWN):
                    there = about(name, _python_of(pythons, name, device)).probe.devices
                    found += [_target(said, name, mode, device).label for mode in said.modes if device in there]
    return found


def _about(name: str, pythons: Mapping[str, str]) -> About:
    """Return what a backend says of itself; a plug-in says it in its own Python, since it may be there only."""
    there = next((python for key, python in pythons.items() if key.partition("@")[0] == name), "")
    if is_own(name) or not there:
        return about(name)
    try:
        return about(name, there)
    except UNKNOWN as error:
        if name not in names():
            raise UsageError(
                f"backend '{name}' is not installed here, and its Python cannot be asked: {error}"
            ) from error
        raise


def parse_target(text: str, pythons: Mapping[str, str] = OURS) -> Target:
    """Return the target that ``text`` names; raises ``UsageError`` saying what is valid.

    The modes of a broken plug-in are not known: its target is taken as it is, and its row will have the reason.
    """
    rest, at, device = text.strip().partition("@")
    name, dot, mode = rest.partition(".")
    try:
        said = _about(name, pythons)
    except UNKNOWN:
        device = device or "cpu"
        return Target(name, mode, device, text.strip(), _python_of(pythons, name, device))
    if (dot and not mode) or (mode and mode not in said.modes):
        raise unknown(f"mode of {name}", mode, said.modes)
    if at:
        device = _device(name, said, device)
    return _target(said, name, mode, device, pythons)


def parse_targets(texts: Sequence[str], devices: Sequence[str] = (), pythons: Mapping[str, str] = OURS) -> list[Target]:
    """Return the targets named by ``texts``, those without a device once for each of ``devices``.

    If a backend can never use one of ``devices``, it is left out for that device. If it can use none of them, or if a
    target is named twice, a ``UsageError`` is raised.
    """
    targets: list[Target] = []
    known = names()
    for text in texts:
        target = parse_target(text, pythons)
        wanted = [target]
        with contextlib.suppress(*UNKNOWN):  # one that is broken has no known devices
            if devices and "@" not in text:
                said, name = _about(target.backend, pythons), target.backend
                fitting = [device for device in devices if device.partition(":")[0] in said.device_kinds]
                if not fitting:
                    _device(name, said, devices[0])
                wanted = [_target(said, name, target.mode, _device(name, said, device), pythons) for device in fitting]
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


def _target(said: About, name: str, mode: str, device: str, pythons: Mapping[str, str] = OURS) -> Target:
    default_mode, default_device = next(iter(said.modes)), said.device_kinds[0]
    mode, device = mode or default_mode, device or default_device
    label = name + f".{mode}" * (mode != default_mode) + f"@{device}" * (device != default_device)
    return Target(name, mode, device, label, _python_of(pythons, name, device))


def _device(name: str, said: About, device: str) -> str:
    """Return the device in its one spelling: ``cuda:0`` is ``cuda``."""
    kind, colon, index = device.partition(":")
    if kind not in said.device_kinds or (colon and (kind == "cpu" or not index.isdecimal())):
        known = [*said.device_kinds, *(f"{kind}:N" for kind in said.device_kinds if kind != "cpu")]
        raise unknown(f"device of {name}", device, known)
    return f"{kind}:{int(index)}" if int(index or 0) else kind


def split_list(text: str | Iterable[str]) -> list[str]:
    """Return the names of a comma-separated list, or of any iterable of names."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]
