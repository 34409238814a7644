"""Backends whose programs are slower by a known fraction: NumPy and PyTorch on the host, and then a wait.

After every call the program spins for a fraction of what that very call took, so it is slower by that fraction
whatever the machine is doing. What watching the clock costs, all of them pay: the one to compare with is ``0``, which
watches it and does not wait.
"""

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend
from ganbench.backends.torch_backend import TorchBackend

from ganbench.backend import Program
from ganbench.operation import Inputs, Operation

MODES = {
    "0": "watches the clock only",
    **{f"{percent}{copy}": f"{percent} % slower" for percent in (3, 5) for copy in "ab"},
}


class Waiting(Program):
    """A program that waits ``fraction`` of the time of the one it wraps, after each call."""

    def __init__(self, program: Program, fraction: float) -> None:
        self.program, self.fraction = program, fraction
        self.iterations = program.iterations

    def __call__(self) -> None:
        start = time.perf_counter()
        self.program()
        now = time.perf_counter()
        until = now + self.fraction * (now - start)
        while time.perf_counter() < until:
            pass

    @property
    def result(self) -> Any:
        return self.program.result

    def reset(self) -> None:
        self.program.reset()

    def feed(self, batches: Sequence[tuple[Any, ...]], state: Any = None) -> None:
        self.program.feed(batches, state)

    def outputs(self) -> list[np.ndarray]:
        return self.program.outputs()


def waiting(program: Program, mode: str) -> Waiting:
    """Return ``program`` slower by what the mode says."""
    return Waiting(program, int(mode.rstrip("ab")) / 100)


class NumpyWaits(NumpyBackend):
    """NumPy, slower by what its mode says."""

    name = "numpy_waits"
    modes: ClassVar[dict[str, str]] = MODES

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return waiting(super().prepare(operation, inputs), self.mode)


class TorchWaits(TorchBackend):
    """PyTorch on the host, slower by what its mode says."""

    name = "torch_waits"
    modes: ClassVar[dict[str, str]] = MODES
    device_kinds = ("cpu",)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return waiting(super().prepare(operation, inputs), self.mode)
