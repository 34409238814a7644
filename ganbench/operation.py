"""What an operation is: seeded inputs, named outputs, the work it takes.

It says how its arrays meet a backend's method in one pure ``apply``; a mode that compiles, scans or captures
transforms that one function. docs/workload.md has the mathematics.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .array_ops import Array, ArrayOps, Step, arrays
from .gan import GANSpec
from .precision import BYTES, accumulation_dtype


class Inputs(NamedTuple):
    """Host arrays of one operation, already in the dtypes that are measured (``ganbench.operations.rounding.to_host``).

    ``fixed`` is read by every call, ``state`` is carried from call to call, ``batches`` are taken in turn.
    """

    fixed: tuple[Any, ...]
    state: Any
    batches: list[tuple[Any, ...]]

    def digest(self) -> str:
        """Return a hash over every number, by which a worker proves that it has the oracle's inputs."""
        hasher = hashlib.sha256()
        for array in arrays(self):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


class Output(NamedTuple):
    """One output array; errors are taken over each ``group``, concatenated.

    ``kept`` arrays (what is carried on, statistics, losses) are float32 where halves are measured.
    """

    name: str
    shape: tuple[int, ...]
    group: str
    kept: bool = False


@dataclass(frozen=True)
class Operation(ABC):
    """One operation at the shapes of one model."""

    spec: GANSpec
    name: ClassVar[str]
    stateful: ClassVar[bool] = False
    minimum_batch: ClassVar[int] = 1

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The sizes that determine the work."""

    @property
    @abstractmethod
    def flops(self) -> int:
        """Least FLOP of one iteration."""

    @property
    def loss(self) -> str | None:
        """The loss that a backend must be written for; None where it takes none."""
        return None

    @abstractmethod
    def inputs(self, seed: int, dtype: str, images: np.ndarray) -> Inputs:
        """Return seeded inputs; ``images`` is (STAGED_BATCHES · B, img_dim) of real data."""

    @abstractmethod
    def outputs(self) -> list[Output]:
        """Return what a program of this operation must produce, in order."""

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


def outputs_of(names: dict[str, tuple[int, ...]], kept: Sequence[str] = ()) -> list[Output]:
    """Return an output for each name and shape, each a group of its own."""
    return [Output(name, shape, name, name in kept) for name, shape in names.items()]
