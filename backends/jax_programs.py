"""The programs of JAX: one compiled call for an iteration, or for all that are staged."""

from collections.abc import Sequence

import numpy as np

from ganbench.backend import Backend, BoundProgram, GANState, Step, map_arrays
from ganbench.operation import Inputs, Operation


class JaxProgram(BoundProgram):
    """Begins with a step counter on the device: given a Python number first, JAX would compile everything twice."""

    def reset(self) -> None:
        super().reset()
        if hasattr(self._state, "step"):
            self._state = self._state._replace(step=self._backend.from_numpy(np.array(self._state.step, np.int32)))
            self.result = (self._state, ())


class ScannedProgram(JaxProgram):
    """All staged batches in one call, stacked on the host before they are staged."""

    def __init__(self, backend: Backend, operation: Operation, inputs: Inputs, step: Step) -> None:
        self.iterations = len(inputs.batches)
        super().__init__(backend, operation, inputs._replace(batches=_stacked(inputs.batches)), step)

    def outputs(self) -> list[np.ndarray]:
        state, results = self.result
        last = [np.asarray(stack)[-1] for stack in results]
        return [self._backend.to_numpy(array) for array in self._operation.collect(state, last)]

    def first_outputs(self, count: int) -> list[np.ndarray]:
        """By the same function, compiled for fewer iterations."""
        self.reset()
        first = map_arrays(lambda array: array[:count], self._batches[0])
        self.result = self._step(self._fixed, self._state, first)
        outputs = self.outputs()
        self.reset()
        return outputs

    def feed(self, batches: Sequence[tuple[np.ndarray, ...]], state: GANState | None = None) -> None:
        super().feed(_stacked(batches), state)


def _stacked(batches: Sequence[tuple[np.ndarray, ...]]) -> list[tuple[np.ndarray, ...]]:
    return [tuple(map(np.stack, zip(*batches, strict=True)))]
