"""``ganbench train``: arguments in, a line now and then while it trains, and where everything was left."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .model import MODEL, model_options, spec_from
from .terminal import say

if TYPE_CHECKING:
    from ..gan import GANSpec
    from ..training.report import Show


@click.command()
@click.option(
    "--backend",
    "--backends",
    "backends",
    required=True,
    metavar="TARGETS",
    help="A target backend[.mode][@device]. Several, separated by commas, show whether they learn the same.",
)
@model_options
@click.option("--loss", metavar="NAME", help="non-saturating or saturating.  [default: the model's own]")
@click.option("--epochs", type=int, metavar="N", help="How often every row is shown.")
@click.option("--iterations", type=int, metavar="N", help="How many iterations, instead of --epochs.")
@click.option("--seed", type=int, metavar="N", help="Of initial weights, order and noise.  [default: 0]")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for log, state and pictures; with several targets, for a folder of each.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Go on from a state.npz, with its model, loss, seed and dtype. Epochs and iterations count from the first.",
)
@click.pass_context
def train(context: click.Context, /, **options: Any) -> None:
    """Train a GAN on real data with the program that is measured; see what it learned and what it cost.

    How long is either --epochs or --iterations:

    \b
      ganbench train --backend jax --epochs 100 --output digits
      ganbench train --backend torch --epochs 200 --output digits --resume digits/state.npz
      ganbench train --backends numpy,torch,jax --iterations 200 --dtype float64 --output parity
    """
    from ..training.plan import make_training
    from ..training.report import Screen, conclusion
    from ..training.run import carry_out

    if options["resume"] is not None and not _given(context, ("dtype",)):
        options["dtype"] = None  # that of the state
    training = make_training(spec=_spec(context, options), **options)
    kept: list[str] = []
    echo = kept.append if sys.stderr.isatty() else click.echo  # lines would tear a bar apart
    with _bar(training.iterations * len(training.plan.targets)) as show:
        screen = Screen(training, echo, show)
        screen.begin()
        trained = carry_out(training, screen.tell)
    for line in [*kept, *conclusion(training, trained)]:
        click.echo(line)
    if trained.interrupted:
        hint = ": what was reached is saved; --resume goes on from it" if trained.folders else " before training began"
        say(f"interrupted{hint}")
        sys.exit(130)


def _spec(context: click.Context, options: dict[str, Any]) -> "GANSpec | None":
    """Return the model asked for; None where it is that of the state."""
    spec = spec_from(options)
    return spec if options["resume"] is None or _given(context, MODEL) else None


def _given(context: click.Context, names: Iterable[str]) -> bool:
    """Whether any of these options stands on the command line."""
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


@contextmanager
def _bar(total: int) -> "Iterator[Show]":
    """Yield what shows progress: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda done, text: bar.update(task, completed=done, description=text)
