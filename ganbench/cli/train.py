"""``ganbench train``: reads the arguments, prints a line now and then, and says where the files are."""

import sys
from typing import Any

import click

from .defaults import Command
from .shared import FILE, given
from .terminal import is_terminal, progress_bar, say


@click.command(
    "train", cls=Command, settings="python spec dtype threads data seed",
    changes={"seed": {
        "help": "Seed of the initial weights, the order of the data and the noise.", "default": None, "usual": "0",
    }},
    replaces={"resume": ["dtype", "seed", "loss"], "epochs": ["iterations"], "iterations": ["epochs"]},
)  # fmt: skip
@click.option("--backend", "--backends", "backends", required=True, metavar="TARGETS",
              help="A target backend[.mode][@device]. Give several, separated by commas, to see whether they learn "
              "the same.")  # fmt: skip
@click.option("--epochs", type=int, metavar="N", help="How many times to go through the data.")
@click.option("--iterations", type=int, metavar="N", help="How many iterations to make, instead of --epochs.")
@click.option("--output", required=True, type=FILE, metavar="DIR",
              help="Folder for the log, the state and the pictures; several targets get a subfolder each.")  # fmt: skip
@click.option("--resume", type=FILE, metavar="FILE",
              help="Continue from a state.npz, with its model, loss, seed and dtype. --epochs and --iterations are "
              "totals.")  # fmt: skip
@click.pass_context
def train_command(context: click.Context, /, **options: Any) -> None:
    """Train a GAN on real data, with the program that is measured.

    Leaves a log, a state to continue from, and pictures. Say how long with either --epochs or --iterations:

    \b
      ganbench train --backend jax --epochs 100 --output digits
      ganbench train --backend torch --epochs 200 --output digits --resume digits/state.npz
      ganbench train --backends numpy,torch,jax --iterations 200 --dtype float64 --output parity
    """
    from ..measure.models import model_of
    from ..settings import OF_MODEL, Settings
    from ..training.plan import make_training
    from ..training.report import Screen, conclusion
    from ..training.run import carry_out

    if options["resume"] is not None and not given(context, "dtype"):
        options["dtype"] = None  # that of the state
    model = {name: options.pop(name) for name in OF_MODEL}
    if options["resume"] is None or given(context, *(name for name in OF_MODEL if name != "loss")):
        options["spec"] = model_of(Settings(**model))
    else:  # it is that of the state, but for the loss
        options["loss"] = model["loss"]
    training = make_training(**options)
    kept: list[str] = []
    echo = kept.append if is_terminal(sys.stderr) else click.echo  # lines would tear a bar apart
    with progress_bar() as show:
        screen = Screen(training, echo, show)
        screen.begin()
        trained = carry_out(training, screen.tell)
    for line in [*kept, *conclusion(training, trained)]:
        click.echo(line)
    if trained.interrupted:
        hint = (
            ": what was reached is saved: --resume continues from it" if trained.folders else " before training began"
        )
        say(f"interrupted{hint}")
        sys.exit(130)
