"""The interface that every framework implements, and the program that is both verified and timed.

A backend has the operations as methods on its own device arrays. ``prepare`` turns one operation and its inputs into a
``Program``. By default it binds the method, so a simple backend has nothing else. A mode that compiles, captures or
preallocates overrides ``prepare``. The same program is verified and then timed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import inspect
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
DISPLACING = 4  # times the size of the last cache are written: a cache need not drop the oldest content first

__all__ = ["Array", "Backend", "GANState", "NetworkState", "Probe", "Program", "Step", "arrays", "map_arrays"]


class Probe(NamedTuple):
    """What is known of a framework without importing it."""

    installed: bool
    version: str
    devices: tuple[str, ...]
    reasons: dict[str, str]  # per device kind that is absent, why
    install: str  # the command that installs the missing parts


class Program(ABC):
    """One operation on staged inputs: verified, then timed.

    One call makes ``iterations`` iterations: 1, or more if a scan or a captured graph runs over the staged batches.
    ``result`` holds the device arrays that the last call produced.
    """

    iterations: int = 1
    result: Any = None

    @abstractmethod
    def reset(self) -> None:
        """Return to the staged state; never timed."""

    @abstractmethod
    def __call__(self) -> None:
        """Enqueue the work of one call; it need not be done when this returns."""

    @abstractmethod
    def outputs(self) -> list[np.ndarray]:
        """Return what the calls since ``reset`` produced, after a sync, in the operation's order."""

    def first_outputs(self, count: int) -> list[np.ndarray]:
        """Return the outputs after the first ``count`` iterations of a call that makes more, from the staged state.

        This is never timed. It is needed only if even correct programs disagree after the iterations of one whole call.
        The program is reset afterwards.
        """
        raise UnsupportedError(
            f"it cannot be verified: one call makes {self.iterations} iterations, but in this model correct programs "
            f"agree only for the first {count}, and this program does not give their outputs"
        )

    def feed(self, batches: Sequence[tuple[Any, ...]], state: Any = None) -> None:
        """Use ``batches`` for the next iterations; they have the number and the shapes of the staged batches.

        The state goes on from its present value. With ``state``, a host copy, it begins there, and ``reset`` returns
        there. Nothing is compiled again. Every visit begins so, with inputs that no call has seen before.
        """
        raise UnsupportedError(
            "this program has no method feed, so it can take no other inputs than those it was prepared with: "
            "it can be neither timed nor trained (see ganbench.backend.Program)"
        )

    def stage(self, inputs: Inputs) -> None:
        """Use the batches and the state of other ``inputs``; never timed."""
        self.feed(inputs.batches, inputs.state)

    # Training: a further method of programs of ``gan_iteration`` --------------------------------------

    def losses(self) -> tuple[Array, ...]:
        """Return the losses that ``spec.reported`` names, of the last call, without waiting.

        They are scalars, or arrays of length ``iterations`` if one call makes several. Later calls do not change them.
        """
        raise UnsupportedError("this program cannot train: it has no method to return its losses")


class BoundProgram(Program):
    """A pure step bound to staged arrays: each call passes the state on and takes the next batch."""

    def __init__(self, backend: Backend, operation: Operation, inputs: Inputs, step: Step | None = None) -> None:
        self._backend = backend
        self._operation = operation
        self._start = inputs.state
        self._step = step or operation.step(backend)
        self._fixed, self._batches = self._staged(inputs.fixed), self._staged(inputs.batches)
        self.reset()

    def _staged(self, tree: Any) -> Any:
        """Return host arrays on the device; one that several batches share is there once."""
        hosts: dict[int, np.ndarray] = {}
        map_arrays(lambda array: hosts.setdefault(id(array), array), tree)
        there = dict(zip(hosts, self._backend.from_numpys([*hosts.values()]), strict=True))
        return map_arrays(lambda array: there[id(array)], tree)

    def reset(self) -> None:
        # As arrays of their own: what starts from the same zeros, as moments do, is changed apart.
        self._state = self._staged(map_arrays(lambda array: array.view(), self._start))
        self._next_batch = itertools.cycle(self._batches).__next__
        self.result = (self._state, ())

    def __call__(self) -> None:
        self.result = self._step(self._fixed, self._state, self._next_batch())
        self._state = self.result[0]

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize(self.result)
        return [self._backend.to_numpy(array) for array in self._operation.collect(*self.result)]

    def feed(self, batches: Sequence[tuple[Any, ...]], state: Any = None) -> None:
        self._batches = self._staged(list(batches))
        self._next_batch = itertools.cycle(self._batches).__next__
        if state is not None:
            self._start = state
            self.reset()

    def losses(self) -> tuple[Array, ...]:
        return tuple(self.result[1])


class Backend(ArrayOps):
    """One framework in one mode on one device; constructing it imports the framework.

    Raises ``UnavailableError`` if the framework or device is missing, and ``UnsupportedError`` if it cannot do what is
    asked. Arrays passed as state (parameters, moments, running statistics) may be changed in place or consumed; all
    others must not be changed.
    """

    api_version: ClassVar[int] = API_VERSION
    name: ClassVar[str]
    modes: ClassVar[Mapping[str, str]]  # mode -> what a user would write, in one line; the first is default
    device_kinds: ClassVar[tuple[str, ...]]  # the first is default
    forks: ClassVar[bool] = False  # whether a process that has only imported ``module`` may be forked
    # Whether the work of a call is done even if nobody waits for its result. If not, as in a lazy framework, every call
    # that is timed is waited for. A class that has a ``synchronize`` of its own must say it anew.
    queues: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = FULL  # Formats this backend supports: dtypes, and ``tf32`` on a GPU
    losses: ClassVar[tuple[str, ...]] = ("non-saturating", "saturating")  # that its ``gan_iteration`` is written for
    layers: ClassVar[tuple[str, ...]] = ()  # kinds of layers said in tables; integers every backend has
    module: ClassVar[str]  # what to import
    distributions: ClassVar[tuple[str, ...]]  # the names under which an index offers it
    install: ClassVar[str]  # the command that installs it
    # Environment variables that turn off what a mode is named for, and the modes that they turn off.
    undone_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "synchronize" in vars(cls) and "queues" not in vars(cls):
            cls.queues = False

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        self.mode = mode or next(iter(self.modes))
        self.device = device or self.device_kinds[0]
        self.precision = precision
        if self.mode not in self.modes:
            raise unknown(f"mode of {self.name}", self.mode, self.modes)
        kind, colon, index = self.device.partition(":")
        if kind not in self.device_kinds or (colon and not index.isdecimal()):
            raise unknown(f"device of {self.name}", self.device, self.device_kinds)
        self.index = int(index or 0)
        for variable, modes in self.undone_by.items():
            if self.mode in modes and os.environ.get(variable, "").lower() not in ("", "0", "false"):
                raise UnsupportedError(
                    f"{variable}={os.environ[variable]} turns off mode '{self.mode}': unset {variable}"
                )
        self.require()

    @classmethod
    def probe(cls) -> Probe:
        """Return what is installed, and which devices it has, without importing the framework."""
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
        """Return why devices of ``kind`` cannot be used, or ''; it must be quick, so it may miss a reason."""
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

    def from_numpys(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        """Return copies of host arrays on the device, as ``from_numpy`` does; overridden where one call is quicker."""
        return [self.from_numpy(array) for array in arrays]

    def require(self) -> None:
        """Raise ``UnavailableError`` if the framework is not importable; the constructor above calls it."""
        if not _importable(self.module):
            raise UnavailableError(f"backend '{self.name}' needs {self.module}: {self.install}")

    def libraries(self) -> list[str]:
        """Return the mathematical libraries that are built into the framework, which no tool finds."""
        return []

    def device_peak(self) -> int | None:
        """Return the peak of the framework's memory on its device, in bytes; None on the host."""
        return None

    def forget_device_peak(self) -> int:
        """Reset the peak; return the bytes that are allocated now.

        A framework that cannot reset its peak does not override this: 0 means that the peak is that of the process.
        """
        return 0

    def event(self) -> Any:
        """Return a timing event, recorded now on the stream of the operations; None if the framework has none."""
        return None

    def elapsed(self, start: Any, end: Any) -> float:
        """Return the seconds between two events of this backend that have both happened."""
        raise UnsupportedError(f"backend '{self.name}' has no timing events")

    def cache_displacer(self) -> Callable[[], object]:
        """Return a function that writes ``DISPLACING`` times the L2 cache of a GPU, on the stream of the operations.

        It is not called on a CPU. It needs ``event``: each call is timed alone, between two events.
        """
        raise UnsupportedError(f"backend '{self.name}' cannot displace what is in a GPU's cache: use --caches warm")

    def require_loss(self, operation: Operation) -> None:
        """Raise ``UnsupportedError`` where this backend is not written for the loss of ``operation``."""
        if operation.loss not in (None, *self.losses):
            has = ", ".join(self.losses)
            raise UnsupportedError(f"backend '{self.name}' is not written for loss '{operation.loss}', only for {has}")
        if operation.name != "gan_iteration" or "u" in inspect.signature(self.gan_iteration).parameters:
            return
        steps, penalised = operation.spec.critic_steps, operation.spec.objective.penalised
        if steps > 1 and not (penalised and hasattr(self, "wasserstein_iteration")):  # the method of interface 1
            raise UnsupportedError(
                f"backend '{self.name}' makes one step on D in an iteration, not {steps}: "
                "its gan_iteration has no argument u (see ganbench.array_ops.ArrayOps)"
            )

    def require_layers(self, operation: Operation) -> None:
        """Raise ``UnsupportedError`` where this backend is not written for the layers of ``operation``."""
        if missing := ", ".join(kind for kind in operation.kinds if kind not in self.layers):
            has = f"tables of {', '.join(self.layers)}" if self.layers else "lists of integers"
            raise UnsupportedError(f"backend '{self.name}' is not written for {missing} layers, only for {has}")

    @abstractmethod
    def synchronize(self, result: Any = None) -> None:
        """Wait until everything enqueued is done, in particular the arrays of the tree ``result``."""

    def mark(self, result: Any) -> Any:
        """Return an object for ``synchronize`` to wait for later, when further calls may have consumed ``result``.

        It is called right after the call that gave ``result``. Only a framework must override it whose ``synchronize``
        waits for the arrays that it is given, and whose calls may consume them, or waits for later calls as well.
        """
        return result

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        """Return the program that performs ``operation`` on ``inputs``, staged on the device."""
        return BoundProgram(self, operation, inputs)


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _version(distributions: Sequence[str]) -> str:
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""
