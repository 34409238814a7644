"""Images with their channels last, and weights as TensorFlow and Keras have them.

Arrays are turned where they are staged and where they are shown, which is not timed.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganbench.backend import BoundProgram

IMAGE = (0, 2, 3, 1)  # (B, C, H, W) as (B, H, W, C)
# (n_out, n_in) as (n_in, n_out), and (C of small, C of big, k, k) as (k, k, C of big, C of small), by number of axes.
WEIGHTS = {2: (1, 0), 4: (2, 3, 1, 0)}


class ChannelsLast(BoundProgram):
    """What stands in a list, as parameters and moments do, is a weight, and so is w beside the images x and grad."""

    def _staged(self, tree: Any) -> Any:
        return super()._staged(turned(tree))

    def as_defined(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return outputs of the operation in the layout that it defines."""
        pairs = zip(arrays, self._orders, strict=True)
        return [array.transpose(order) if order else array for array, order in pairs]

    @functools.cached_property
    def _orders(self) -> list[tuple[int, ...] | None]:
        """How the axes of each output go back: found once, since a look that takes long seems to be work."""
        outputs = self._operation.outputs()
        weights = [output.name.split()[-1].startswith("W") or output.name == "grad_w" for output in outputs]
        axes = [_axes(len(output.shape), weight) for output, weight in zip(outputs, weights, strict=True)]
        return [one and tuple(map(one.index, range(len(one)))) for one in axes]


def turned(tree: Any, weight: bool = False, known: dict[int, np.ndarray] | None = None) -> Any:
    """Return a tree of arrays with each of them turned; an array that stands in several places is turned once."""
    known = {} if known is None else known
    if isinstance(tree, list):
        return [turned(one, True, known) for one in tree]
    if isinstance(tree, tuple):
        parts = [turned(one, place == 1 and getattr(one, "ndim", 0) == 4, known) for place, one in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    axes = _axes(getattr(tree, "ndim", 0), weight)
    return known.setdefault(id(tree), tree.transpose(axes)) if axes else tree


def _axes(ndim: int, weight: bool) -> tuple[int, ...] | None:
    """Return the order in which so many axes are kept; None where they stay as they are."""
    return WEIGHTS.get(ndim) if weight else IMAGE if ndim == 4 else None
