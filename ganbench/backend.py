"""The interface that every framework implements, and the program that is both verified and timed.

A backend writes the operations as methods on its own device arrays. ``prepare`` turns one operation and
its inputs into a ``Program``; by default it binds the method, so a simple backend writes nothing else. A
mode that compiles, captures or preallocates overrides it. What is timed is what was verified.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from . import gpus
from .array_ops import Array, ArrayOps, GANState, NetworkState, Step, arrays, map_arrays
from .errors import UnavailableError, UnsupportedError, unknown
from .precision import FULL, name_of

if TYPE_CHECKING:
    import numpy as np

    from .operation import Inputs, Operation

API_VERSION = 1
DISPLACING = 4  # times the last cache are written to displace what lies in it, since the oldest need not go first

__all__ = ["Array", "Backend", "GANState", "NetworkState", "Probe", "Program", "Step", "arrays", "map_arrays"]


class Probe(NamedTuple):
    """What can be said of a framework without importing it."""

    installed: bool
    version: str
    devices: tuple[str, ...]
    reasons: dict[str, str]  # per device kind that is absent, why
    install: str  # the command that would bring what is missing


class Program(ABC):
    """One operation on staged inputs: verified, then timed.

    ``iterations`` is how many iterations one call performs: 1, or more where a scan or a captured graph
    runs over the staged batches. ``result`` holds the live device arrays that the last call produced.
    """

    iterations: int = 1
    result: Any = None

    @abstractmethod
    def reset(self) -> None:
        """Return to the staged state; never timed."""

    @abstractmethod
    def __call__(self) -> None:
        """Enqueue the work once; need not wait for it."""

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """Return what the calls since ``reset`` produced, after a sync, in the operation's order."""

    def first_outputs(self, count: int) -> list[np.ndarray]:
        """Return the outputs after the first ``count`` iterations of a call that makes more, from the staged state.

        Never timed, and asked only where correct programs part within one call. Leaves the program reset.
        """
        raise UnsupportedError(
            f"one call makes {self.iterations} iterations, but in this model correct programs agree for only {count}, "
            "and this program cannot make so few"
        )

    # Training: what programs of ``gan_iteration`` can do besides --------------------------------------

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        """Take the next iterations from ``batches``, as many and of the same shapes as were staged.

        The state goes on from where it is; with ``state``, a host copy, it begins there, and ``reset``
        returns there. Nothing is compiled again.
        """
        raise UnsupportedError("this program cannot be given other batches than those it was prepared with")

    def losses(self) -> tuple[Array, ...]:
        """Return what ``spec.reported`` names, of the last call, not synchronised; later calls leave them as they are.

        Scalars, or arrays of length ``iterations`` where one call performs several.
        """
        raise UnsupportedError("this program does not give its losses")


class BoundProgram(Program):
    """A pure step bound to staged arrays: each call feeds the state on and takes the next batch."""

    def __init__(self, backend: Backend, operation: Operation, inputs: Inputs, step: Step | None = None) -> None:
        self._backend = backend
        self._operation = operation
        self._start = inputs.state
        self._step = step or operation.step(backend)
        self._fixed = map_arrays(backend.from_numpy, inputs.fixed)
        self._batches = [map_arrays(backend.from_numpy, batch) for batch in inputs.batches]
        self.reset()

    def reset(self) -> None:
        self._state = map_arrays(self._backend.from_numpy, self._start)
        self._next_batch = itertools.cycle(self._batches).__next__
        self.result = (self._state, ())

    def __call__(self) -> None:
        self.result = self._step(self._fixed, self._state, self._next_batch())
        self._state = self.result[0]

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize(self.result)
        return [self._backend.to_numpy(array) for array in self._operation.collect(*self.result)]

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        self._batches = [map_arrays(self._backend.from_numpy, batch) for batch in batches]
        self._next_batch = itertools.cycle(self._batches).__next__
        if state is not None:
            self._start = state
            self.reset()

    def losses(self) -> tuple[Array, ...]:
        return tuple(self.result[1])


class Backend(ArrayOps):
    """One framework in one mode on one device; constructing it imports the framework.

    Raises ``UnavailableError`` where the framework or device is missing and ``UnsupportedError`` where it
    cannot do what is asked. Arrays passed as state (parameters, moments, running statistics) may be
    changed in place or consumed; all others must be left as they are.
    """

    api_version: ClassVar[int] = API_VERSION
    name: ClassVar[str]
    modes: ClassVar[Mapping[str, str]]  # mode -> what a user would write, in one line; the first is default
    device_kinds: ClassVar[tuple[str, ...]]  # the first is default
    forks: ClassVar[bool] = False  # whether a process that has imported ``module``, no more, may be forked
    formats: ClassVar[tuple[str, ...]] = FULL  # Formats this backend supports: dtypes, and ``tf32`` on a GPU
    losses: ClassVar[tuple[str, ...]] = ("non-saturating", "saturating")  # that its ``gan_iteration`` is written for
    module: ClassVar[str]  # what to import
    distributions: ClassVar[tuple[str, ...]]  # the names under which an index offers it
    install: ClassVar[str]  # the command that installs it
    # Variables by which a user turns off what a mode is named for, and the modes that they make untrue.
    undone_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        self.mode = mode or next(iter(self.modes))
        self.device = device or self.device_kinds[0]
        self.precision = precision
        if self.mode not in self.modes:
            raise unknown(f"mode of {self.name}", self.mode, self.modes)
        kind, colon, index = self.device.partition(":")
        if kind not in self.device_kinds or (colon and not index.isdecimal()):
            raise unknown(f"device of {self.name}", self.device, self.device_kinds)
        for variable, modes in self.undone_by.items():
            if self.mode in modes and os.environ.get(variable, "").lower() not in ("", "0", "false"):
                raise UnsupportedError(
                    f"{variable}={os.environ[variable]} turns off what mode '{self.mode}' is: unset {variable}"
                )
        self.require()

    @classmethod
    def probe(cls) -> Probe:
        """Say what is installed and which devices it has, without importing the framework."""
        version = _version(cls.distributions) if _importable(cls.module) else ""
        devices, reasons = [], {}
        for kind in cls.device_kinds:
            if not version:
                reasons[kind] = f"{cls.module} is not installed"
            elif reason := cls.missing_device(kind, version):
                reasons[kind] = reason
            else:
                devices.append(kind)
        return Probe(bool(version), version, tuple(devices), reasons, cls.install)

    @classmethod
    def missing_device(cls, kind: str, version: str) -> str:
        """Return why devices of ``kind`` cannot be used, as far as a cheap look can tell, or ''."""
        return "" if kind == "cpu" or gpus.count() else "no NVIDIA GPU found"

    @classmethod
    def lacks(cls, device: str, dtype: str, precision: str) -> str:
        """Return why it cannot compute in a dtype and precision on ``device``, or ''; a mode may lack more."""
        name = name_of(dtype, precision)
        if name == "tf32" and device == "cpu":
            return f"TF32 needs an NVIDIA GPU, but {cls.name} was asked for on cpu"
        return "" if name in cls.formats else f"backend '{cls.name}' has no {name}"

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        """Return the variables that must be set before the framework is imported.

        ``cache`` is a folder for compiled code, private to the run: its first round is cold.
        """
        return {}

    def require(self) -> None:
        """Raise ``UnavailableError`` if the framework is not importable; the constructor above calls it."""
        if not _importable(self.module):
            raise UnavailableError(f"backend '{self.name}' needs {self.module}: {self.install}")

    def libraries(self) -> list[str]:
        """Return the mathematical libraries that the framework carries inside, where no tool sees them."""
        return []

    def device_peak(self) -> int | None:
        """Return the most bytes that the framework has taken on its device; None on the host."""
        return None

    def forget_device_peak(self) -> int:
        """Let ``device_peak`` count from now on; return the bytes that are held now.

        A framework that cannot forget its peak leaves this as it is: 0, above which lies the peak of the process.
        """
        return 0

    def event(self) -> Any:
        """Return a timing event recorded now on the stream of the operations; None where there is none."""
        return None

    def elapsed(self, start: Any, end: Any) -> float:
        """Return the seconds between two events of this backend that have both happened."""
        raise UnsupportedError(f"backend '{self.name}' has no timing events")

    def cache_displacer(self) -> Callable[[], object]:
        """Return what writes ``DISPLACING`` times the L2 cache of a GPU, on the stream of the operations.

        Never asked for on a CPU. It is only of use beside ``event``: between two of them a call is timed alone.
        """
        raise UnsupportedError(f"backend '{self.name}' cannot displace what is in a GPU's cache: use --caches warm")

    @abstractmethod
    def synchronize(self, result: Any = None) -> None:
        """Wait until everything enqueued is done, in particular the arrays of the tree ``result``."""

    def mark(self, result: Any) -> Any:
        """Return what ``synchronize`` can wait for once later calls have been enqueued, and consumed ``result``.

        Called right after the call that gave ``result``. Only a framework whose ``synchronize`` waits for the very
        arrays that it is given, and which may consume them, needs another than this.
        """
        return result

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        """Return the program that performs ``operation`` on ``inputs``, staged on the device."""
        return BoundProgram(self, operation, inputs)


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _version(distributions: Sequence[str]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
