"""The differences between the loss curves of several backends that began with the same numbers."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

GATED = 200  # iterations over which float64 must agree
PARTED = 1e-3  # losses are of order 1: beyond this, two curves can be told apart in a picture


class Parity(NamedTuple):
    """``spread`` is, by iteration, the largest difference of any loss between any two targets."""

    targets: list[str]
    steps: np.ndarray
    spread: np.ndarray

    @property
    def largest(self) -> float:
        """The largest difference over the first ``GATED`` iterations that were made."""
        return float(self.spread[:GATED].max())

    @property
    def parted(self) -> int | None:
        """The first iteration at which the curves lie apart by more than ``PARTED``, or None."""
        beyond = np.flatnonzero(self.spread > PARTED)
        return int(self.steps[beyond[0]]) if len(beyond) else None

    def describe(self) -> str:
        """Return in one or two sentences what was found."""
        shown = min(GATED, len(self.steps))
        text = (
            f"{', '.join(self.targets)}: losses differ by at most {self.largest:.1e} over the first {shown} iterations"
        )
        if self.parted is None:
            return f"{text}; in {len(self.steps):,} iterations the curves never differ by more than {PARTED:g}"
        return f"{text}; the curves part at iteration {self.parted:,}, where they first differ by more than {PARTED:g}"

    def explain(self) -> list[str]:
        """Return lines for a picture: the largest difference, and the reason if the curves part."""
        lines = self.describe().split("; ")
        if self.parted is not None:
            lines.append(
                "Red line: the first difference above the dotted one. Every backend rounds in its own order, "
                "and each network learns from the other, which amplifies it."
            )
        return lines


def compare_losses(losses: Mapping[str, np.ndarray]) -> Parity:
    """Return the parity of tables (iteration, d_loss, g_loss), over the iterations that all of them have."""
    steps = functools.reduce(np.intersect1d, (table[:, 0] for table in losses.values()))
    tables = np.stack([table[np.isin(table[:, 0], steps), 1:] for table in losses.values()])
    return Parity(list(losses), steps.astype(int), np.ptp(tables, axis=0).max(axis=1))
