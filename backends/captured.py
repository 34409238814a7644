"""CUDA graphs: all staged iterations, recorded once and launched with one call."""

from collections.abc import Callable, Sequence

import numpy as np

from ganbench.backend import Array, Backend
from ganbench.operation import Inputs, Operation

from .inplace import Kernels
from .inplace_program import InPlaceProgram

Capture = Callable[[Callable[[], None]], Callable[[], None]]


class CapturedProgram(InPlaceProgram):
    """An in-place program that ``capture`` has recorded over all its batches: one launch, no allocation.

    ``capture`` runs the function it is given once to warm libraries up, then records it, and returns what
    launches the record. Batches, losses and the step counter have their places on the device.
    """

    def __init__(
        self, backend: Backend, kernels: Kernels, operation: Operation, inputs: Inputs, capture: Capture
    ) -> None:
        super().__init__(backend, kernels, operation, inputs)
        self.iterations = len(self._batches)
        self._losses = kernels.empty(self.iterations, len(self._loss_views))
        self._launch = capture(self._all)
        self.reset()

    def _all(self) -> None:
        for turn, batch in enumerate(self._batches):
            self.iteration(batch, self._losses_of(turn))

    def __call__(self) -> None:
        self._launch()

    def first_outputs(self, count: int) -> list[np.ndarray]:
        """By the function that was recorded, whose kernels are launched one after the other."""
        self.reset()
        for batch in self._batches[:count]:
            self.iteration(batch, self._last_losses())
        outputs = self.outputs()
        self.reset()
        return outputs

    def _losses_of(self, turn: int) -> Sequence[Array]:
        return [self._losses[turn, place, ...] for place in range(len(self._loss_views))]

    def _last_losses(self) -> Sequence[Array]:
        return self._losses_of(-1)
