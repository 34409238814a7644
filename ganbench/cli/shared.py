"""Options that several commands share, above all those that describe a model and how it is computed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import UsageError
from .quantities import seconds

if TYPE_CHECKING:
    from ..gan import GANSpec

MODEL = ("preset", "model", "generator", "discriminator", "batch", "loss")  # the options that make a GANSpec
MODELS = {
    "preset": 1,
    "model": 2,
    "generator": 3,
    "discriminator": 3,
}  # ways to name a model; only one may be used
Command = Callable[..., Any]

math_option = click.option(
    "--math", default="", metavar="ieee|tf32|mixed",
    help="How matrix products are computed.  [default: ieee; mixed for float16 and bfloat16]",
)  # fmt: skip

devices_option = click.option(
    "--devices", default="", metavar="LIST", help="Devices to run every backend on: cpu, cuda, cuda:1."
)
timeout_option = click.option(
    "--timeout", type=seconds, default="120s", show_default=True, metavar="TIME",
    help="Stop a worker that does not answer within this time.",
)  # fmt: skip
results_option = click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Folder in which every run is saved.",
)  # fmt: skip
output_option = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report to this file."
)
details_option = click.option(
    "--details", is_flag=True, help="Add start-up, memory, ceilings, floor and disturbance to the table."
)


def format_option(choices: Sequence[str]) -> Callable[[Command], Command]:
    """Return the option that says in which of ``choices`` a report is written."""
    return click.option("--format", "form", default="table", show_default=True, type=click.Choice(choices))


def model_options(command: Command) -> Command:
    """Add the options that describe what is computed, and on what data."""
    options = [
        click.option("--preset", default="mnist-mlp", show_default=True, metavar="NAME",
                     help="A model by name; see 'list'."),
        click.option("--model", type=click.Path(path_type=Path), metavar="FILE",
                     help="A model described in a TOML file."),
        click.option("--generator", metavar="WIDTHS", help="Layer widths of the generator, such as 64,256,784."),
        click.option("--discriminator", metavar="WIDTHS", help="Layer widths of the discriminator, such as 784,128,1."),
        click.option("--batch", type=int, metavar="N", help="Batch size.  [default: the model's own]"),
        click.option("--loss", metavar="NAME",
                     help="non-saturating, saturating or wgan-gp.  [default: the model's own]"),
        click.option("--dtype", default="float32", show_default=True, metavar="NAME",
                     help="float32, float64, bfloat16 or float16."),
        click.option("--threads", type=int, metavar="N",
                     help="Threads that every framework gets.  [default: all cores]"),
        click.option("--data", type=click.Path(path_type=Path), metavar="PATH",
                     help="Real data: IDX (.gz), .npy or .npz images, or a folder of WAV files.  "
                     "[default: UCI handwritten digits]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def given(context: click.Context, *names: str) -> list[str]:
    """Return which of these options stand on the command line."""
    return [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def spec_from(options: dict[str, Any]) -> "GANSpec":
    """Return the model that the options describe, taking its options out of ``options``.

    A model on the command line takes the place of one among a project's defaults.
    """
    import msgspec

    from ..gan import GANSpec, preset, read_spec, with_loss

    context = click.get_current_context(silent=True)
    given_here = given(context, *MODELS) if context else []
    name, model, batch, loss = (options.pop(option) for option in ("preset", "model", "batch", "loss"))
    widths = {role: options.pop(role) for role in ("generator", "discriminator")}
    if given_here:
        name, model = name if "preset" in given_here else "", model if "model" in given_here else None
        widths = {role: text if role in given_here else None for role, text in widths.items()}
    changes: dict[str, Any] = {} if batch is None else {"batch": batch}
    if len({MODELS[one] for one in given_here}) > 1:
        raise UsageError("a model is one of --preset, --model FILE, or --generator and --discriminator together")
    if any(widths.values()):
        if not all(widths.values()):
            raise UsageError("a model is either --model FILE, or --generator and --discriminator together")
        made: dict[str, Any] = {role: _widths(role, text) for role, text in widths.items()}
        spec = GANSpec(**{"batch": 128, **changes, **made})
    else:
        spec = msgspec.structs.replace(read_spec(model) if model else preset(name), **changes)
    return spec if loss is None else with_loss(spec, loss)


def _widths(role: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--{role} '{text}' is not valid: integers separated by commas, such as 64,256,784") from None
