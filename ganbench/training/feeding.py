"""A program that gets new data for every call: for training, and to measure the cost of feeding."""

import statistics
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from ..array_ops import Array, GANState
from ..backend import Backend, Program
from ..gan import STAGED_BATCHES
from ..measure.engine import calibrate, time_visit
from ..operation import Operation
from ..results.statistics import MIN_ROUNDS, speed_ratio
from .batches import Batch
from .protocol import Cost

VISIT_S = 0.05
BUDGET_S = 1.0  # pairs of visits are timed for so long,
PAIRS = (MIN_ROUNDS, 15)  # but at least and at most so many


class Fed(Program):
    """Takes the next batches from a stream in every call, and reads the losses of the call before.

    The losses are read only after new work is enqueued, so that a device need not wait for the host. The first call
    begins at ``start``, or at the present state of the program.
    """

    iterations = STAGED_BATCHES

    def __init__(
        self, backend: Backend, program: Program, batches: Iterator[Batch], start: GANState | None = None
    ) -> None:
        self._backend, self._program, self._batches, self._start = backend, program, batches, start
        self._unread: list[tuple[Array, ...]] = []
        self._read: list[np.ndarray] = []

    def __call__(self) -> None:
        self.advance(STAGED_BATCHES)

    def advance(self, wanted: int) -> int:
        """Enqueue ``wanted`` iterations, at most STAGED_BATCHES; return how many: whole calls of the program."""
        self._program.feed(list(islice(self._batches, STAGED_BATCHES)), self._start)
        self._start = None
        enqueued = []
        for _ in range(-(-wanted // self._program.iterations)):
            self._program()
            enqueued.append(self._program.losses())
        self._take()
        self._unread = enqueued
        self.result = self._program.result
        return len(enqueued) * self._program.iterations

    def read_losses(self, wait: bool = False) -> np.ndarray:
        """Return what was reported (n, columns) and read since the last time; with ``wait``, also what is enqueued."""
        if wait:
            self._take()
        read = np.concatenate(self._read) if self._read else np.empty((0, 0))
        self._read = []
        return read

    def reset(self) -> None:
        self._program.reset()
        self._unread, self._read = [], []

    def outputs(self) -> list[np.ndarray]:
        return self._program.outputs()

    def _take(self) -> None:
        for reported in self._unread:
            columns = [self._backend.to_numpy(part).reshape(-1) for part in reported]
            self._read.append(np.stack(columns, axis=1).astype(np.float64))
        self._unread = []


def cost_of_feeding(backend: Backend, operation: Operation, program: Program, batches: Iterator[Batch]) -> Cost:
    """Time ``program`` alone and fed, in pairs of visits, and return the cost of feeding.

    Both begin at the staged state, so neither is slowed by the denormal numbers of a long training.
    """
    fed = Fed(backend, program, batches)
    number = calibrate(backend, operation, program, VISIT_S)
    number_fed = max(1, number * program.iterations // fed.iterations)
    time_visit(backend, operation, fed, number_fed)  # warm
    alone: list[float] = []
    with_data: list[float] = []
    deadline = time.perf_counter() + BUDGET_S
    while len(alone) < PAIRS[0] or (len(alone) < PAIRS[1] and time.perf_counter() < deadline):
        turns = [(alone, program, number), (with_data, fed, number_fed)]
        for samples, which, count in turns if len(alone) % 2 else reversed(turns):
            samples.append(time_visit(backend, operation, which, count).seconds)
    ratio = speed_ratio(with_data, alone)
    return Cost(statistics.median(alone), statistics.median(with_data), *(value - 1 for value in ratio))
