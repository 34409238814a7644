"""``ganbench.compare``: make a plan, measure it, save the run, and return it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..gan import GANSpec
from ..measure.plan import make_plan
from ..measure.session import carry_out
from ..results.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from ..measure.rounds import Progress


class Comparison(Run):
    """A run that is shown as a table, in a terminal and in a notebook; ``to_pandas`` gives a DataFrame."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row per operation and target, as ``load_results`` does."""
        from ..results.table import run_table

        return run_table(self)

    def relative_to(self, baseline: str) -> "pd.DataFrame":
        """Return ``to_pandas()`` with speeds and verdicts relative to any target that took part, and ``fastest``.

        ``fastest`` is ``surely``, ``maybe`` (these targets cannot be told apart) or ''; it is the same for every
        baseline. Raises ``UsageError`` for another target.
        """
        from ..report.relative import baseline_of, fastest, speeds

        table = self.to_pandas()
        first = fastest(table, lambda *_: self)
        return speeds(table, baseline_of(table, baseline), lambda *_: self).assign(fastest=first)

    def _repr_html_(self) -> str:
        from ..report.notebook import to_html

        return to_html(self)

    def __repr__(self) -> str:
        from ..report import counted
        from ..report.table import by_speed, summary

        if self.header.count:
            return counted.render(self, "table")
        return str(summary(self, by_speed(self.to_pandas())).to_string(index=False))


def compare(
    backends: str | Sequence[str],
    *,
    spec: GANSpec | None = None,
    results: str | Path | None = "results",
    machine: str | None = None,
    progress: "Progress | None" = None,
    **settings: Any,
) -> Comparison:
    """Compare ``backends`` (targets such as ``"numpy,torch.textbook,jax@cuda"``) with one another.

    ``settings`` are those of ``ganbench.settings.Settings``: ``preset``, ``ops``, ``dtype``, ``rounds`` and others;
    ``spec`` takes the place of those that name a model. ``results=None`` saves no file. Raises ``UsageError`` for
    invalid input, ``StorageError`` if results cannot be written. If a backend fails, its row has the reason.
    """
    plan = make_plan(spec, backends=backends, **settings)
    folder = None if results is None else Path(results)
    run = carry_out(plan, folder, machine, _say, progress or (lambda *_: None))
    return Comparison(run.records, run.path, run.ended)


def _say(text: str) -> None:
    print(f"ganbench: {text}", file=sys.stderr)
