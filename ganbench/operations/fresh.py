"""Inputs that no program has seen before: drawn once, and then varied from visit to visit by a seed.

To draw millions of random numbers would take longer than the work that is timed. So each array is kept twice in a row,
and what a seed gives is a part of that: the same numbers, begun at another place. This costs nothing.
"""

from typing import TypeVar

import numpy as np

from ..array_ops import arrays, map_arrays
from ..gan import STAGED_BATCHES
from ..operation import Inputs, Operation

ROTATED = 2**21  # numbers of an input that all batches together hold, at most ...
LEAST_TURNS = 2  # ... unless these would be fewer
SEEDS = 2**53  # which JSON can name
T = TypeVar("T")


def turns(rng: np.random.Generator, drawn: T, size: int) -> list[T]:
    """Return what ``drawn``, a tree of arrays of ``size`` numbers, is in each staged batch: another version in each.

    In a few, and then these again, if it is large.
    """
    count = max(LEAST_TURNS, min(STAGED_BATCHES, ROTATED // max(size, 1)))
    doubled = map_arrays(_Doubled, drawn)
    versions = [map_arrays(_Doubled.at, doubled)]
    versions += [map_arrays(lambda one: one.begun(rng), doubled) for _ in range(count - 1)]
    return [versions[turn % count] for turn in range(STAGED_BATCHES)]


class _Doubled:
    """An array twice in a row, of which a part is the same numbers begun at another place, a multiple of ``unit``.

    An array that is such a part already is not copied again.
    """

    def __init__(self, array: np.ndarray, unit: int = 1) -> None:
        self._shape, self._size, self._unit, self.ndim = array.shape, array.size, unit, array.ndim
        if (whole := array.base) is not None and whole.shape == (2 * array.size,) and whole.dtype == array.dtype:
            self._twice = whole
        else:
            self._twice = np.concatenate([np.ravel(array)] * 2)

    def at(self, start: int = 0) -> np.ndarray:
        return self._twice[start : start + self._size].reshape(self._shape)

    def begun(self, rng: np.random.Generator) -> np.ndarray:
        return self.at(self._unit * int(rng.integers(self._size // self._unit)))


class FreshInputs:
    """The inputs of an operation by seed; seed 0 stands for those that were drawn.

    Batches come in another order, and every array begins at another of its numbers, real images at another row. What
    is fixed stays as it is, and so does an array that is one number all over, such as Adam's moments, which begin at 0.
    """

    def __init__(self, operation: Operation, drawn: Inputs) -> None:
        self._drawn = drawn
        place = operation.images_at
        real = set() if place is None else {id(batch[place]) for batch in drawn.batches}
        self._doubled = {
            id(array): _Doubled(array, array.shape[-1] if id(array) in real else 1)
            for array in arrays((drawn.state, drawn.batches))
            if array.ndim and (array != array.flat[0]).any()
        }

    def __call__(self, seed: int) -> Inputs:
        """Return the inputs for ``seed``, which must not be changed: they share memory."""
        if not seed:
            return self._drawn
        rng = np.random.default_rng(seed)
        begun = {key: doubled.begun(rng) for key, doubled in self._doubled.items()}
        tree = self._drawn.state, self._drawn.batches
        state, batches = map_arrays(lambda array: begun.get(id(array), array), tree)
        return Inputs(self._drawn.fixed, state, [batches[turn] for turn in rng.permutation(len(batches))])
