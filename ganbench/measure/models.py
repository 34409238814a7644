"""The model that is asked for: a preset, a file or widths, and what is then changed in it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..errors import UsageError
from ..gan import GANSpec, preset, with_loss
from ..layers.tables import normalised_less, scaled
from ..model_file import read_spec
from ..settings import Settings


def model_of(settings: Settings) -> GANSpec:
    """Return the model that is asked for; raises ``UsageError``, or ``SpecError`` for one that cannot exist."""
    widths = {role: widths for role in ("generator", "discriminator") if (widths := getattr(settings, role))}
    if bool(widths) + bool(settings.model) + bool(settings.preset) > 1 or len(widths) == 1:
        raise UsageError("a model is one of --preset, --model FILE, or --generator and --discriminator together")
    if widths:
        made: dict[str, Any] = {role: _widths(role, said) for role, said in widths.items()}
        spec = GANSpec(batch=128, **made)
    else:
        spec = read_spec(Path(settings.model)) if settings.model else preset(settings.preset or "mnist-mlp")
    for name in CHANGES:
        spec = changed(spec, name, getattr(settings, name, None))
    return spec


def changed(spec: GANSpec, name: str, value: Any) -> GANSpec:
    """Return ``spec`` with one of ``CHANGES``; with None, as it is. Raises ``SpecError`` or ``UsageError``."""
    return spec if value is None else CHANGES[name](spec, value)


def _widths(role: str, widths: str | Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in (widths.split(",") if isinstance(widths, str) else widths))
    except ValueError:
        raise UsageError(
            f"--{role} '{widths}' is not valid: integers separated by commas, such as 64,256,784"
        ) from None


def _normalised(spec: GANSpec, where: str) -> GANSpec:
    """Return ``spec`` with batch norm in no layer, or only where the generator has it."""
    in_tables = not spec.generator_activations
    generator, discriminator = normalised_less(spec.generator, spec.discriminator)[where]
    if in_tables and where == "generator" and not any(layer.batch_norm for layer in spec.generator_layers):
        raise UsageError(f"batch-norm generator: the generator of {spec.name} has none; write it into the model's file")
    own = where == "generator" and not in_tables
    return replace(spec, batch_norm=own, generator=generator, discriminator=discriminator)


def _with_channels(spec: GANSpec, factor: float) -> GANSpec:
    """Return ``spec`` with ``factor`` times as many channels in the hidden convolutions of both networks."""
    made: dict[str, Any] = {role: scaled(getattr(spec, role), factor) for role in ("generator", "discriminator")}
    if factor != 1 and all(made[role] == getattr(spec, role) for role in made):
        raise UsageError(f"channels {factor:g}: {spec.name} has no hidden convolution")
    return replace(spec, **made)


def _widened(spec: GANSpec, width: int) -> GANSpec:
    """Return ``spec`` with all hidden layers of both networks ``width`` wide."""
    if spec.kinds:
        raise UsageError(f"sweep of width: {spec.name} has layers in tables, so it has no single width")
    made: dict[str, tuple[Any, ...]] = {}
    for role in ("generator", "discriminator"):
        first, *hidden, last = getattr(spec, role)
        made[role] = (first, *[width] * len(hidden), last)
    if all(len(widths) == 2 for widths in made.values()):
        raise UsageError(f"sweep of width: {spec.name} has no hidden layer")
    if all(made[role] == getattr(spec, role) for role in made):
        return spec
    return replace(spec, name=f"{spec.name}-w{width}", **made)


# In this order: a gradient penalty allows no batch norm in D, and brings its own number of steps on D.
CHANGES: dict[str, Callable[[GANSpec, Any], GANSpec]] = {
    "batch_norm": _normalised,
    "channels": _with_channels,
    "width": _widened,
    "batch": lambda spec, batch: replace(spec, batch=batch),
    "loss": with_loss,
    "critic_steps": lambda spec, steps: replace(spec, critic_steps=steps),
}
