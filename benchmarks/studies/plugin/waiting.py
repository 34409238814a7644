"""Backends whose programs are slower by a known fraction: NumPy and PyTorch on the host, and then a wait.

After every call the program spins for a fraction of what that very call took, so it is slower by that fraction
whatever the machine is doing. What watching the clock costs is measured beforehand and taken off the wait.
"""

import time
from typing import Any, ClassVar

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend
from ganbench.backends.torch_backend import TorchBackend

from ganbench.backend import Program
from ganbench.operations import Inputs, Operation

MODES = {
    "not": "what it wraps",
    **{f"{percent}{copy}": f"{percent} % slower" for percent in (3, 5) for copy in "ab"},
}


class Waiting(Program):
    """A program that takes ``1 + fraction`` times as long as the one it wraps, of which each call is finished."""

    def __init__(self, program: Program, fraction: float, cost_s: float = 0.0) -> None:
        self.program, self.fraction, self._cost_s = program, fraction, cost_s
        self.iterations = program.iterations

    def __call__(self) -> None:
        start = time.perf_counter()
        self.program()
        now = time.perf_counter()
        until = now + self.fraction * (now - start) - self._cost_s
        while time.perf_counter() < until:
            pass

    @property
    def result(self) -> Any:
        return self.program.result

    def reset(self) -> None:
        self.program.reset()

    def outputs(self) -> list[np.ndarray]:
        return self.program.outputs()


class Empty(Program):
    """Does nothing."""

    def reset(self) -> None:
        pass

    def __call__(self) -> None:
        pass

    def outputs(self) -> list[np.ndarray]:
        return []


def cost_of_waiting(calls: int = 20_000) -> float:
    """Return the seconds that wrapping adds to a call when there is nothing to wait for."""

    def seconds(program: Program) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            program()
        return (time.perf_counter() - start) / calls

    return min(seconds(Waiting(Empty(), 0.0)) - seconds(Empty()) for _ in range(3))


def slowed(program: Program, percent: int) -> Program:
    """Return ``program``, slower by ``percent``."""
    return Waiting(program, percent / 100, cost_of_waiting()) if percent else program


def percent_of(mode: str) -> int:
    """Return by how much a mode is slower."""
    return int(mode[:-1]) if mode != "not" else 0


class NumpyWaits(NumpyBackend):
    """NumPy, slower by what its mode says."""

    name = "numpy_waits"
    modes: ClassVar[dict[str, str]] = MODES

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return slowed(super().prepare(operation, inputs), percent_of(self.mode))


class TorchWaits(TorchBackend):
    """PyTorch on the host, slower by what its mode says."""

    name = "torch_waits"
    modes: ClassVar[dict[str, str]] = MODES
    device_kinds = ("cpu",)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return slowed(super().prepare(operation, inputs), percent_of(self.mode))
