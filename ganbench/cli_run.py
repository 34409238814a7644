"""What every command that measures shares: a bar while it does, and the exit code where it could not."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .terminal import say

if TYPE_CHECKING:
    from .comparison import Comparison
    from .measure.run import Progress


def shown(work: "Callable[[Progress], Comparison]") -> "Comparison":
    """Do ``work`` under a progress bar, if there is a terminal for it."""
    if not sys.stderr.isatty():
        return work(lambda share, text: None)
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    parts = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*parts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return work(lambda share, text: bar.update(task, completed=share, description=text))


def conclude(comparison: "Comparison", failure: int = 1) -> None:
    """Say what went wrong, and leave with the exit code for it: 130, or ``failure``."""
    if comparison.ended == "interrupted":
        say("interrupted: the table shows what was measured until then")
        sys.exit(130)
    if comparison.ended not in ("complete", "precision", "budget"):
        say(comparison.ended)
        sys.exit(failure)
    if not (comparison.to_pandas()["status"] == "ok").any():
        say("nothing was measured: every row says why")
        sys.exit(failure)
