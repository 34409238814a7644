"""The program of the modes in place: an iteration on buffers, over the staged batches."""

import itertools
from collections.abc import Sequence

import numpy as np

from ganbench.backend import Array, Backend, GANState, Program
from ganbench.operation import Inputs, Operation

from .inplace import Iteration, Kernels
from .inplace_penalty import PenalisedIteration


class InPlaceProgram(Program):
    """An ``Iteration`` over the staged batches, one for each call."""

    def __init__(self, backend: Backend, kernels: Kernels, operation: Operation, inputs: Inputs) -> None:
        self._backend, self._operation, self._start = backend, operation, inputs.state
        spec, self._kernels = operation.spec, kernels
        kind = PenalisedIteration if spec.objective.penalised else Iteration
        self.iteration = kind(kernels, spec, inputs.state)
        self._losses = kernels.empty(len(spec.reported))
        self._loss_views = [self._losses[place, ...] for place in range(len(spec.reported))]
        self._batches = [self.iteration.batch_buffers() for _ in inputs.batches]
        self.feed(inputs.batches, inputs.state)

    def reset(self) -> None:
        self.iteration.load(self._start)
        self._next_batch = itertools.cycle(self._batches).__next__
        self.result = (self.iteration.state, ())

    def __call__(self) -> None:
        self.iteration(self._next_batch(), self._loss_views)

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize()
        live = self._operation.collect(self.iteration.state, self._last_losses())
        return [self._backend.to_numpy(array) for array in live]

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        for buffers, batch in zip(self._batches, batches, strict=True):
            self.iteration.stage(batch, buffers)
        self._next_batch = itertools.cycle(self._batches).__next__
        if state is not None:
            self._start = state
            self.reset()

    def _last_losses(self) -> Sequence[Array]:
        return self._loss_views

    def losses(self) -> tuple[Array, ...]:
        kept = self._kernels.empty(*self._losses.shape)
        self._kernels.copy(self._losses, kept)
        return tuple(kept.swapaxes(0, -1))
