"""What ``ganbench list`` shows: everything that can be asked for, and why some of it is missing."""

from collections.abc import Mapping

from .. import registry
from ..errors import GanbenchError
from ..gan import PRESETS
from ..losses import LOSSES
from ..operations import CONVOLUTIONS, DEFAULT_OPERATIONS, OPERATIONS


def listing(pythons: Mapping[str, str] = registry.OURS) -> str:
    """Return backends with modes and devices, operations, losses and presets, as text; ``pythons``: of which Python."""
    lines = ["BACKENDS  (targets are backend[.mode][@device]; the first mode and device are the default)"]
    for name, python in registry.homes(pythons):
        lines += _backend(name, python)
    lines += ["", "OPERATIONS  (* measured by default; + instead of matmul, where a model has such layers)"]
    marks = {**{kind.name: "+" for kind in CONVOLUTIONS}, **dict.fromkeys(DEFAULT_OPERATIONS, "*")}
    for name, kind in OPERATIONS.items():
        lines.append(f"  {marks.get(name, ' ')} {name:<22} {(kind.__doc__ or '').splitlines()[0]}")
    lines += ["", "LOSSES  (--loss, or 'loss' of a model)"]
    lines += [f"    {name:<22} {loss.about}" for name, loss in LOSSES.items()]
    lines += ["", "PRESETS"]
    lines += [f"    {name:<22} {spec.describe()}; {spec.n_params:,} parameters" for name, spec in PRESETS.items()]
    return "\n".join(lines) + "\n"


def _backend(name: str, python: str) -> list[str]:
    place = f" in {python}" * bool(python)
    try:
        said = registry.about(name.partition("@")[0], python)
    except GanbenchError as error:
        return [f"  {name}{place}", f"      broken: {error}"]
    probe = said.probe
    lines = [f"  {name}" + (f" {probe.version}" if probe.installed else "") + place]
    for kind in said.device_kinds:
        reason = probe.reasons.get(kind)
        lines.append(f"      @{kind:<10} {'available' if reason is None else f'missing: {reason}'}")
    if probe.reasons:
        lines.append(f"      install     {probe.install}")
    lines.append(f"      computes in {', '.join(said.formats)}")
    lines += [f"      .{mode:<10} {text}" for mode, text in said.modes.items()]
    return lines
