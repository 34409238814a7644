"""The batches of a training, the same numbers for every backend; how a program gets them, and what that costs.

Each epoch has its own random stream, which follows from the seed and the epoch's number. So a resumed training gets the
same batches as without the interruption.
"""

import statistics
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np

from ..array_ops import Array, GANState
from ..backend import Backend, Program
from ..gan import STAGED_BATCHES, GANSpec
from ..measure.engine import calibrate, time_visit
from ..operation import Operation
from ..results.statistics import MIN_ROUNDS, speed_ratio
from .protocol import Cost

ROWS = "rows.npy"  # the real data of a training, in its dtype, on the way to its process
SAMPLES = 100  # rows generated for the picture, from noise that never changes
SAMPLE_STREAM = 0  # epochs are counted from 1
VISIT_S = 0.05
BUDGET_S = 1.0  # pairs of visits are timed for so long,
PAIRS = (MIN_ROUNDS, 15)  # but at least and at most so many

# real, z_d, z_g; where there is a penalty, u as well, and real, z_d and u of each of its steps
Batch = tuple[np.ndarray, ...]


def stream(rows: np.ndarray, spec: GANSpec, seed: int, step: int) -> Iterator[Batch]:
    """Yield the batches of every iteration after ``step``, without end, in the dtype of ``rows``.

    An epoch is a new permutation of the rows, divided into the batches of whole iterations. The rows that are left over
    are other rows in every epoch.
    """
    taken = spec.real_rows
    per_epoch = len(rows) // taken
    epoch, done = divmod(step, per_epoch)
    while True:
        epoch += 1
        rng = _stream(seed, epoch)
        order = rng.permutation(len(rows))
        for index in range(per_epoch):
            # Drawn in float64 whatever the dtype, and drawn even where it is skipped.
            noise = [array.astype(rows.dtype) for array in _drawn(rng, spec)]
            if index >= done:
                real = rows[order[index * taken : (index + 1) * taken]]
                shape = (spec.critic_steps, spec.batch, -1) if spec.stacked else real.shape
                yield real.reshape(shape), *noise
        done = 0


def _drawn(rng: np.random.Generator, spec: GANSpec) -> tuple[np.ndarray, ...]:
    """Return z_d and z_g of one iteration; where there is a penalty, u as well."""
    b, steps = spec.batch, spec.critic_steps
    z_d, z_g = rng.standard_normal((steps, b, spec.z_dim)), rng.standard_normal((b, spec.z_dim))
    if spec.objective.penalised:
        return z_d, z_g, rng.uniform(size=(steps, b, 1))
    return z_d if spec.stacked else z_d[0], z_g


def sample_noise(spec: GANSpec, seed: int) -> np.ndarray:
    """Return the noise from which every picture of a training is generated."""
    return _stream(seed, SAMPLE_STREAM).standard_normal((SAMPLES, spec.z_dim))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


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
