"""The identity of a case: only what is the same in all of it stands in one series, in one ratio, under one name.

A model counts by its content as well as its name, data by its content and never by its path.
"""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..gan import PRESETS, GANSpec, with_loss
from ..layers import Entry
from ..layers.tables import normalised_less, written
from ..precision import titled
from .records import DIGITS, RunHeader

if TYPE_CHECKING:
    import pandas as pd

LESS = {"": "", "generator": "batch norm in G alone", "off": "no batch norm"}
DRAWN = 16  # letters of a digest in earlier runs, of the rows that one seed and batch drew; now it is of all the data


class Case(NamedTuple):
    """What was measured, in the words of the DataFrame's columns; how large it was says ``shape``."""

    model: str
    data: str
    dtype: str
    precision: str
    caches: str
    threads: int
    operation: str
    shape: str
    target: str


CONDITIONS = Case._fields[:6]  # what stands above a table
KEYS = ("machine", "source", *CONDITIONS)  # a context: nothing that differs in one of these is ever pooled
CASE = (*KEYS, "operation", "shape", "target")


def without(row: Mapping[Any, Any], variable: str) -> str:
    """Return the shape of a row with a letter in the place of its batch or its critic_steps."""
    import pandas as pd

    sizes = row["shape"].split("x")
    sizes[variable == "batch" and pd.notna(row["critic_steps"])] = variable[0].upper()
    return "x".join(sizes)


def case_of(row: Mapping[Any, Any]) -> Case:
    """Return the case of a row that has its columns."""
    return Case(*(row[name] for name in Case._fields))


def hardware(processors: object, cpu: object, gpus: Sequence[object] = ()) -> str:
    """Return what a machine is made of, such as ``2x Intel Xeon @ 2.50GHz``; '' where that was not recorded."""
    if not (processors and cpu):
        return ""
    model = " ".join(re.sub(r"\((R|TM)\)|\b(Processor|CPU)\b", " ", str(cpu), flags=re.IGNORECASE).split())
    return " + ".join([f"{processors}x {model}", *map(str, gpus)])


def hardware_of(header: RunHeader) -> str:
    """Return what the machine of a run is made of."""
    there = header.environment
    gpus = there.get("gpus")
    return hardware(there.get("logical_cpus"), there.get("cpu"), gpus if isinstance(gpus, list) else ())


def told_apart(machine: str, hardware: str) -> str:
    """Return the name of a machine among others of that name: with what the name does not say of its hardware."""
    parts = machine.lower().split("-")
    said = {*parts, *(f"{part[:-1]}x" for part in parts if part.endswith("c"))}
    left = " ".join(word for word in hardware.split() if word.lower() not in said)
    return f"{machine} ({left})" if left else machine


def machine_names(header: RunHeader) -> tuple[str, str]:
    """Return how reports may name the machine of a run: alone, and among others of that name."""
    return header.machine, told_apart(header.machine, hardware_of(header))


def service_name(header: RunHeader, row: "pd.Series[Any]") -> str:
    """Return the name of a row's case for services that watch it from commit to commit, wherever its data lies."""
    cold = ", cold caches" * (header.caches == "cold")
    known = header.data_digest and header.data != DIGITS
    data = f", data {header.data_digest[:8]}" if known else ""
    context = f"{row['model']}, {titled(header.dtype, header.precision)}{cold}{data}, {header.threads} threads"
    return f"{context}: {row['operation']} {row['shape']} on {row['target']}"


@functools.cache
def model_label(spec: GANSpec) -> str:
    """Return a model's name, and behind it what differs from the preset of that name, such as ``tiny, batch norm``.

    Where there is none, what differs from a plain model of the same layers. Batch and critic_steps are the shape's.
    """
    layers = spec.generator, spec.discriminator
    known = PRESETS.get(spec.name)
    said = _layers_beside(known, layers) if known or spec.kinds else ""
    if known and (not said or (known.kinds and spec.kinds)):
        plain = msgspec.structs.replace(known, generator=layers[0], discriminator=layers[1])
    else:
        plain = GANSpec(generator=layers[0], discriminator=layers[1], batch=spec.batch)
    found = [spec.name, *[said] * bool(said)]
    if spec.loss != plain.loss:
        found.append(spec.loss)
        plain = with_loss(plain, spec.loss)
    if spec.batch_norm != plain.batch_norm:
        found.append("batch norm" if spec.batch_norm else "no batch norm")
    for role in ("generator", "discriminator"):
        own: Sequence[str] = getattr(spec, f"{role}_activations")
        if own != getattr(plain, f"{role}_activations"):
            runs = [(name, len(list(group))) for name, group in itertools.groupby(own)]
            found.append(f"{role} {'-'.join(f'{n}*{name}' if n > 1 else name for name, n in runs)}")
    if spec.init != plain.init:
        found.append(f"init {spec.init}")
    numbers = [
        name for name in ("penalty", "lr", "beta1", "beta2", "eps") if getattr(spec, name) != getattr(plain, name)
    ]
    return ", ".join([*found, *(f"{name} {getattr(spec, name):g}" for name in numbers)])


def _layers_beside(known: GANSpec | None, layers: Sequence[Sequence[Entry]]) -> str:
    """Return how layers differ from those of a preset; '' where they do not, and all of them where there is none."""
    if known is not None:
        own = known.generator, known.discriminator
        for where, form in {"": own, **normalised_less(*own)}.items():
            if form == layers:
                return LESS[where]
    return " / ".join(map(written, layers))


def same_data(a: RunHeader, b: RunHeader) -> bool:
    """Whether two runs of one model had the same data: by its digest; by its path where a run has no such digest."""
    lengths = {len(header.data_digest) for header in (a, b)}
    if len(lengths) == 1 and 0 not in lengths and (DRAWN not in lengths or a.seed == b.seed):
        return a.data_digest == b.data_digest
    return a.data == b.data


def named_data(header: RunHeader) -> str:
    """Return the path of a run's data with the beginning of its digest."""
    return f"{header.data} (digest {header.data_digest[:8] or 'not recorded'})"
