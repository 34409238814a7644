"""Images with their channels last, and weights as TensorFlow and Keras have them.

Arrays are turned where they are staged and where they are shown, which is not timed.
"""

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
        found = []
        for array, output in zip(arrays, self._operation.outputs(), strict=True):
            axes = _axes(array, output.name.split()[-1].startswith("W") or output.name == "grad_w")
            found.append(array.transpose(np.argsort(axes)) if axes else array)
        return found


def turned(tree: Any, weight: bool = False, known: dict[int, np.ndarray] | None = None) -> Any:
    """Return a tree of arrays with each of them turned; an array that stands in several places is turned once."""
    known = {} if known is None else known
    if isinstance(tree, list):
        return [turned(one, True, known) for one in tree]
    if isinstance(tree, tuple):
        parts = [turned(one, place == 1 and getattr(one, "ndim", 0) == 4, known) for place, one in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    axes = _axes(tree, weight)
    return known.setdefault(id(tree), tree.transpose(axes)) if axes else tree


def _axes(array: Any, weight: bool) -> tuple[int, ...] | None:
    """Return the order in which the axes of an array are kept; None where it stays as it is."""
    ndim = getattr(array, "ndim", 0)
    return WEIGHTS.get(ndim) if weight else IMAGE if ndim == 4 else None
