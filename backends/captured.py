"""CUDA graphs: all staged iterations, recorded once and launched with one call."""

from collections.abc import Callable

from ganbench.backend import Array, Backend
from ganbench.operation import Inputs, Operation

from .inplace import InPlaceProgram, Kernels

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
        self._losses = kernels.empty(self.iterations, 2)
        self._launch = capture(self._all)
        self.reset()

    def _all(self) -> None:
        for turn, (rows, z_d, z_g) in enumerate(self._batches):
            self.iteration(rows, z_d, z_g, self._losses[turn, 0, ...], self._losses[turn, 1, ...])

    def __call__(self) -> None:
        self._launch()

    def _last_losses(self) -> tuple[Array, Array]:
        return self._losses[-1, 0, ...], self._losses[-1, 1, ...]

    def losses(self) -> tuple[Array, Array]:
        kept = self._kernels.empty(self.iterations, 2)
        self._kernels.copy(self._losses, kept)
        return kept[:, 0], kept[:, 1]
