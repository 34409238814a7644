"""A network as a model file says it: the shape of its input, then its layers, each a width or a table."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from ..errors import SpecError
from .base import Activation, Layer
from .conv import Conv, ConvTranspose, OnImages
from .dense import Dense
from .network import weighted
from .reshape import reshape

Image = tuple[int, int, int]  # C, H, W
Networks = tuple[tuple["Entry", ...], tuple["Entry", ...]]  # a generator and a discriminator
Network = tuple[tuple[Layer, ...], tuple[int, ...]]  # layers, and the shape of the output as the entries say it
LEAST = {"out": 1, "kernel": 1, "stride": 1, "padding": 0}


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A layer of one kind."""


class WeightedTable(Table, frozen=True, kw_only=True):
    """A layer with a weight; ``out`` is its width, or how many channels come out. A missing activation is the default.

    One with batch norm has no bias, whatever is said here.
    """

    out: int
    activation: Activation | None = None
    batch_norm: bool = False
    bias: bool = True


class DenseTable(WeightedTable, frozen=True, kw_only=True, tag="dense"):
    """What an integer says, with more to choose."""


class WindowTable(WeightedTable, frozen=True, kw_only=True):
    """A layer whose weight is a kernel that moves over images."""

    kernel: int
    stride: int = 1
    padding: int = 0


class ConvTable(WindowTable, frozen=True, kw_only=True, tag="conv"):
    """A convolution with a square kernel: h = ⌊(H + 2p − k)/s⌋ + 1."""


class ConvTransposeTable(WindowTable, frozen=True, kw_only=True, tag="conv_transpose"):
    """A transposed convolution with a square kernel: H = (h − 1)s − 2p + k."""


class ReshapeTable(Table, frozen=True, kw_only=True, tag="reshape"):
    """A vector as an image."""

    shape: Image


Entry = int | Image | DenseTable | ConvTable | ConvTransposeTable | ReshapeTable


def tables(entries: Sequence[Entry]) -> list[Table]:
    """Return the tables among the entries of a network."""
    return [entry for entry in entries if isinstance(entry, Table)]


def kind(table: Table) -> str:
    """Return the word by which a table says what it is."""
    return str(table.__struct_config__.tag)


KINDS = tuple(str(one.__struct_config__.tag) for one in (DenseTable, ConvTable, ConvTransposeTable, ReshapeTable))


def widths(role: str, entries: Sequence[Entry]) -> tuple[int, ...]:
    """Return how many values each of entries without tables has; raises ``SpecError`` for an image behind the first."""
    for number, entry in enumerate(entries):
        if number and isinstance(entry, tuple):
            raise _late(role, number, entry)
    return tuple(map(size, entries))


def size(first: Entry) -> int:
    """Return how many values the input of a network has."""
    return first if isinstance(first, int) else math.prod(first)  # type: ignore[arg-type]


def sizes(entries: Sequence[Entry], layers: Sequence[Layer]) -> str:
    """Return the shapes of a network's input and of what each layer gives, such as ``100-32x7x7-16x14x14``."""
    first: Any = entries[0]
    shapes = [(first,) if isinstance(first, int) else first, *(layer.out_shape for layer in weighted(layers))]
    return "-".join("x".join(map(str, shape)) for shape in shapes)


def filled(entries: Sequence[Entry], last: Activation) -> tuple[Entry, ...]:
    """Return entries that say what they leave to defaults: relu, and ``last`` behind the last layer."""
    return tuple(
        replace(entry, activation=_activation(entries, number, last), bias=entry.bias or entry.batch_norm)
        if isinstance(entry, WeightedTable)
        else entry
        for number, entry in enumerate(entries)
    )


def unnormalised(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return entries with biases in the place of batch norm."""
    return tuple(replace(entry, batch_norm=False) if isinstance(entry, WeightedTable) else entry for entry in entries)


def normalised_less(generator: Sequence[Entry], discriminator: Sequence[Entry]) -> dict[str, Networks]:
    """Return two networks with less batch norm: ``off``, in no layer; ``generator``, in none of the discriminator."""
    without = unnormalised(discriminator)
    return {"off": (unnormalised(generator), without), "generator": (tuple(generator), without)}


def scaled(entries: Sequence[Entry], factor: float) -> tuple[Entry, ...]:
    """Return entries with ``factor`` times the channels of hidden convolutions; raises ``SpecError`` for parts of one.

    The last layer keeps its own: they are those of the image, or the logit.
    """
    *hidden, _ = [number for number, entry in enumerate(entries) if number and not isinstance(entry, ReshapeTable)]
    found = list(entries)
    for number in hidden:
        if isinstance(entry := entries[number], ConvTable | ConvTransposeTable):
            out = entry.out * factor
            if not 1 <= out < math.inf or out != round(out):
                raise SpecError(f"channels {factor:g} is not valid: {factor:g} times {entry.out} channels is {out:g}")
            found[number] = replace(entry, out=round(out))
    return tuple(found)


def written(entries: Sequence[Entry]) -> str:
    """Return all that entries say, in one word each."""
    return "-".join(map(_word, entries))


def _word(entry: Entry) -> str:
    if isinstance(entry, int):
        return str(entry)
    if isinstance(entry, tuple):
        return "x".join(map(str, entry))
    said = msgspec.to_builtins(entry)
    kind, out = said.pop("kind"), said.pop("out", "")
    size = "".join(f"{name[0]}{said.pop(name)}" for name in ("kernel", "stride", "padding") if name in said)
    words = [f"{out}{size}", said.get("activation"), said.get("batch_norm") and "batch norm"]
    if not said.get("bias", True):
        words.append("no bias")
    words += ["x".join(map(str, said.get("shape", ())))]
    return f"{kind}({', '.join(filter(None, words))})"


def _activation(entries: Sequence[Entry], number: int, last: Activation) -> Activation:
    own = getattr(entries[number], "activation", None)
    more = any(not isinstance(entry, ReshapeTable) for entry in entries[number + 1 :])
    return own or ("relu" if more else last)


def network(role: str, entries: Sequence[Entry], last: Activation) -> Network:
    """Return the layers of a network, from rows to rows, and the shape of its output as the entries say it.

    Where an array changes its shape there is a ``Reshape``: before a convolution a vector becomes an image, before a
    dense layer an image a vector. Raises ``SpecError`` naming the place where sizes do not fit.
    """
    first, *rest = entries
    if isinstance(first, Table) or all(isinstance(entry, ReshapeTable) for entry in rest):
        raise SpecError(f"`$.{role}` must begin with its input, an integer or [C, H, W], and have a layer behind it")
    said: tuple[int, ...] = (first,) if isinstance(first, int) else first
    if min(said) < 1:
        raise _fault(f"{times(said)} is not valid: sizes are at least 1", role, 0)
    given: tuple[int, ...] = (math.prod(said),)
    layers: list[Layer] = []
    for number, entry in enumerate(rest, 1):
        if isinstance(entry, ReshapeTable):
            if math.prod(entry.shape) != math.prod(said) or min(entry.shape) < 1:
                why = f"{times(entry.shape)} is not as many values as {times(said)}, which {role}[{number - 1}] gives"
                raise _fault(why, role, number, "shape")
            said = entry.shape
            continue
        made = _layer(role, number, entry, said, _activation(entries, number, last))
        if given != made.in_shape:
            layers.append(reshape(given, made.in_shape))
        layers.append(made)
        said = given = made.out_shape
    if len(given) > 1:
        layers.append(reshape(given, (math.prod(given),)))
    return tuple(layers), said


def require_ends(image: Any, generator: Network, discriminator: Network) -> None:
    """Raise ``SpecError`` where two networks do not fit each other, or D, which takes ``image``, ends in no logit."""
    (_, made), (judging, logit) = generator, discriminator
    takes = image if isinstance(image, tuple) else (image,)
    if math.prod(made) != math.prod(takes) or (min(len(made), len(takes)) > 1 and made != takes):
        raise SpecError(
            f"the generator makes {_named(made, 'vectors of width')}, but the discriminator takes "
            f"{_named(takes, 'width')}: the two must be equal"
        )
    if math.prod(logit) != 1:
        raise SpecError(f"the discriminator ends in width {times(logit)}: it must be 1, the logit")
    if (last := weighted(judging)[-1].activation) != "identity":
        raise SpecError(
            f"the discriminator ends in '{last}': it must be 'identity', because the losses are written on logits"
        )


def _named(shape: Sequence[int], vector: str) -> str:
    return f"{'images of' if len(shape) > 1 else vector} {times(shape)}"


def _layer(role: str, number: int, entry: Any, said: tuple[int, ...], activation: Activation) -> Layer:
    """Return the layer of one entry behind an output of shape ``said``."""
    if isinstance(entry, tuple):
        raise _late(role, number, entry)
    if isinstance(entry, int):
        entry = DenseTable(out=entry)
    for name, least in LEAST.items():
        if (value := getattr(entry, name, least)) < least:
            raise _fault(f"{name} {value} is not valid: at least {least}", role, number, name)
    fields: dict[str, Any] = {"activation": activation, "batch_norm": entry.batch_norm, "bias": entry.bias}
    if isinstance(entry, DenseTable):
        return Dense(**fields, n_in=math.prod(said), n_out=entry.out)
    kernel, stride, padding = entry.kernel, entry.stride, entry.padding
    if padding >= kernel:
        raise _fault(f"padding {padding} is not valid: it must be below the kernel, {kernel}", role, number, "padding")
    c, *sides = said if len(said) > 1 else (*said, 1, 1)
    layer: type[OnImages] = Conv if isinstance(entry, ConvTable) else ConvTranspose
    image = c, sides[0], sides[1]
    made = layer.over(image, entry.out, kernel, stride, padding, **fields)
    if min(made.out_shape) < 1:
        of = f"{times(image)}, which {role}[{number - 1}] gives"
        raise _fault(f"kernel {kernel} with padding {padding} leaves no pixel of {of}", role, number, "kernel")
    return made


def times(shape: Sequence[int]) -> str:
    """Return a shape as messages show it, such as ``3 × 28 × 28``."""
    return " × ".join(map(str, shape))


def explained(error: Exception) -> str:
    """Return what a checker of types found in a model, in the words of model files."""
    found = str(error).replace("`int | object | array`", "an integer, [C, H, W] or a table with a kind")
    found = found.replace("Object missing required field", "it lacks")
    return f"{found} (kinds: {', '.join(KINDS)})" if found.endswith(".kind`") else found


def _late(role: str, number: int, image: Image) -> SpecError:
    return _fault(f"the shape of an image, {list(image)}, can only be the first entry", role, number)


def _fault(why: str, role: str, number: int, name: str = "") -> SpecError:
    return SpecError(f"{why} - at `$.{role}[{number}]{'.' * bool(name)}{name}`")
