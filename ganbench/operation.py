"""An operation: its shape, its seeded inputs, its named outputs, and its work in FLOP and bytes.

Its pure function ``apply`` calls a backend's method with its arrays. A mode that compiles, scans or captures transforms
this function. docs/workload.md has the mathematics.
"""

import contextlib
import hashlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from msgspec.structs import replace

from .array_ops import Array, ArrayOps, Step, arrays
from .errors import SpecError
from .gan import PRESETS, GANSpec
from .precision import BYTES, accumulation_dtype


class Shape(Mapping[str, "int | tuple[int, ...]"]):
    """The sizes that determine the work of an operation, each by its name: a value, which may be a key.

    ``m``, ``k``, ``n`` of a product (m, k) · (k, n), ``batch`` and ``features`` of batch norm, ``parameters`` of Adam.
    A convolution has ``batch``, ``channels``, ``height`` and ``width`` of what goes in, ``out`` channels, ``kernel``,
    ``stride`` and ``padding``.
    What works on a model has ``batch``, before it ``critic_steps`` where the loss has them, and after it ``generator``,
    ``discriminator`` or both: tuples of widths, from input to output. Sizes of which nobody knows what they are have
    one name, ``sizes``.

    It is a ``Mapping``: ``shape["batch"]``, ``shape.get("critic_steps")``, ``"generator" in shape``. The same with
    another batch is ``Shape(**{**shape, "batch": 1})``. ``str(shape)`` is column ``shape`` of the DataFrame, such as
    ``128x64x256x784x128x1``. ``ganbench.operations.shape_of`` gives names to the sizes of a record.
    """

    def __init__(self, **parts: int | tuple[int, ...]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> int | tuple[int, ...]:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __hash__(self) -> int:
        return hash(tuple(self._parts.items()))

    def __repr__(self) -> str:
        return f"Shape({', '.join(f'{name}={value}' for name, value in self._parts.items())})"

    def __str__(self) -> str:
        return "x".join(map(str, self.sizes))

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sizes in a row, as run files have them; the width of an image, which both networks have, stands once."""
        flat: list[int] = []
        for name, value in self._parts.items():
            widths = (value,) if isinstance(value, int) else value
            flat += widths[1:] if name == "discriminator" and "generator" in self._parts else widths
        return tuple(flat)

    def filled(self, sizes: Sequence[int]) -> "Shape":
        """Return the same parts with other sizes; raises ``ValueError`` where their number is another."""
        if len(sizes) != len(self.sizes):
            raise ValueError(f"{len(sizes)} sizes for a shape of {len(self.sizes)}")
        parts: dict[str, int | tuple[int, ...]] = {}
        left = iter(sizes)
        image: tuple[int, ...] = ()
        for name, value in self._parts.items():
            if isinstance(value, int):
                parts[name] = next(left)
                continue
            shared = image if name == "discriminator" else ()
            widths = (*shared, *itertools.islice(left, len(value) - len(shared)))
            parts[name], image = widths, widths[-1:]
        return Shape(**parts)

    @property
    def batch(self) -> int | None:
        """How many rows go through at once: ``batch``, or ``m`` of a product; None where there are none."""
        rows = self._parts.get("batch", self._parts.get("m"))
        return rows if isinstance(rows, int) else None


class Inputs(NamedTuple):
    """Host arrays of one operation, already in the dtypes that are measured (``ganbench.operations.rounding.to_host``).

    ``state`` is carried from call to call, and ``batches`` are taken in turn, so that no two calls in a row have the
    same inputs. ``fixed`` is what every call reads in every visit, since it is too large to rotate.
    """

    fixed: tuple[Any, ...]
    state: Any
    batches: list[tuple[Any, ...]]

    def digest(self) -> str:
        """Return a hash over every number, with which a worker proves that it has the oracle's inputs.

        Memory that several arrays share is hashed once, and then where in it each of them is.
        """
        hasher, known = hashlib.sha256(), dict[int, int]()
        for array in arrays(self):
            memory = array if array.base is None else array.base
            if id(memory) not in known:
                known[id(memory)] = len(known)
                hasher.update(np.ascontiguousarray(memory).data)
            place = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
            hasher.update(repr((known[id(memory)], place, array.shape, array.strides, array.dtype)).encode())
        return hasher.hexdigest()


class Output(NamedTuple):
    """One output array; errors are taken over each ``group``, concatenated.

    ``kept`` arrays (what is carried on, statistics, losses) are float32 where halves are measured.
    """

    name: str
    shape: tuple[int, ...]
    group: str
    kept: bool = False


class Operation(ABC):
    """One operation at one shape."""

    spec: GANSpec  # the model, of an operation on one: see ``ModelOperation``
    name: ClassVar[str]
    stateful: ClassVar[bool] = False
    minimum_batch: ClassVar[int] = 1
    images_at: ClassVar[int | None] = None  # the place of the real images in a batch; None where it has none

    @classmethod
    @abstractmethod
    def of(cls, spec: GANSpec) -> Self:
        """Return this operation as a model has it; raises ``SpecError`` where it has none."""

    @classmethod
    @abstractmethod
    def sized(cls, sizes: Sequence[int]) -> Self:
        """Return this operation with a shape of these sizes; raises ``ValueError`` where none is known."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """The sizes that determine the work."""

    @property
    @abstractmethod
    def flops(self) -> int:
        """Least FLOP of one iteration."""

    @property
    def usual_flops(self) -> int:
        """FLOP of one iteration as they are usually counted: with products by zeros of padding."""
        return self.flops

    @property
    def loss(self) -> str | None:
        """The loss that a backend must have for this operation; None if it needs none."""
        return None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of layers, said in tables, that a backend must have for it."""
        return ()

    @abstractmethod
    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        """Return seeded inputs; ``images`` is (STAGED_BATCHES · B, img_dim) of real data."""

    @abstractmethod
    def outputs(self) -> list[Output]:
        """Return the outputs that a program of this operation must give, in order."""

    @abstractmethod
    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        """Return (state, results) after one iteration on ``backend``'s arrays."""

    def step(self, backend: ArrayOps) -> Step:
        """Return ``apply`` bound to ``backend``: the pure function that modes transform."""
        return lambda fixed, state, batch: self.apply(backend, fixed, state, batch)

    def collect(self, state: Any, results: Any) -> list[Array]:
        """Return the arrays named by ``outputs``, in that order."""
        return list(results)

    def bytes(self, dtype: str) -> int:
        """Fewest bytes of one iteration: every input read once, every output written once."""
        written = [(math.prod(output.shape), output.kept) for output in self.outputs()]
        wide = self._kept_read + sum(count for count, keep in written if keep)
        narrow = self._values_read - self._kept_read + sum(count for count, keep in written if not keep)
        return BYTES[accumulation_dtype(dtype)] * wide + BYTES[dtype] * narrow

    @property
    @abstractmethod
    def _values_read(self) -> int:
        """How many array values one iteration reads."""

    @property
    def _kept_read(self) -> int:
        """How many of them are float32 where halves are measured."""
        return 0


@dataclass(frozen=True)
class ModelOperation(Operation):
    """An operation on the networks of a model."""

    spec: GANSpec

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        return cls(spec)

    @classmethod
    def sized(cls, sizes: Sequence[int]) -> Self:
        """Return it on the preset that has this shape at some batch, and after some steps of its critic."""
        for spec in PRESETS.values():
            parts = dict(zip(cls(spec).shape, sizes, strict=False))
            free = {name: parts[name] for name in ("critic_steps", "batch") if name in parts}
            with contextlib.suppress(SpecError):
                made = cls(replace(spec, **free))
                if made.shape.sizes == tuple(sizes):
                    return made
        raise ValueError(f"no preset has {cls.name} at shape {sizes}")


def outputs_of(names: dict[str, tuple[int, ...]], kept: Sequence[str] = ()) -> list[Output]:
    """Return an output for each name and shape, each a group of its own."""
    return [Output(name, shape, name, name in kept) for name, shape in names.items()]
