"""``ganbench model``: a model file from networks that somebody has as PyTorch modules."""

import contextlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError, unknown
from .defaults import Command
from .shared import FILE
from .terminal import check_output, say, write

# What modules say of a model, and its batch, which they do not: a file without it is none.
NETWORKS = ("batch", "generator", "generator_activations", "discriminator", "discriminator_activations")


@click.group("model")
def model_command() -> None:
    """Make a model file from networks of your own."""


@model_command.command("from-torch", cls=Command)
@click.argument("generator", metavar="FILE.py:GENERATOR")
@click.argument("discriminator", metavar="FILE.py:DISCRIMINATOR")
@click.option("--input", "noise", type=click.IntRange(1), required=True, metavar="N", help="Number of noise values.")
@click.option("--output", type=FILE, metavar="FILE", help="Write the model to this file instead of printing it.")
def from_torch(generator: str, discriminator: str, noise: int, output: Path | None) -> None:
    """Read two networks of PyTorch, each an nn.Sequential that a function in a Python file returns.

    The file is run, as an import would run it. What cannot be read is named with its place and what comes nearest.

    \b
      ganbench model from-torch nets.py:make_generator nets.py:make_discriminator --input 100 --output my.toml
      ganbench compare --model my.toml
    """
    from ..model_file import as_toml
    from .modules import gan_of

    check_output(output)
    ran: dict[Path, dict[str, Any]] = {}
    with contextlib.redirect_stdout(sys.stderr):  # what the file prints is no part of the model
        networks = [_network(place, ran) for place in (generator, discriminator)]
    spec, notes = gan_of(networks[0], networks[1], noise)
    for note in notes:
        say(note)
    origin = f"# {generator} and {discriminator}, read by 'ganbench model from-torch'"
    said = [name for name in NETWORKS if getattr(spec, name)]
    write(f"{origin}\n{as_toml(spec, said)}", output)
    if output is not None:
        say(f"{spec.describe()}: saved in {output}; 'ganbench compare --model {output}' measures it")


def _network(where: str, ran: dict[Path, dict[str, Any]]) -> Any:
    """Return the module that a function in a file returns; raises ``UsageError`` where there is none."""
    from .modules import is_module

    file, _, name = where.rpartition(":")
    if not (file.endswith(".py") and name):
        raise UsageError(f"'{where}' is not valid: FILE.py:FUNCTION, such as nets.py:make_generator")
    path = Path(file)
    if path not in ran:
        ran[path] = _run(path)
    if name not in ran[path]:
        functions = [key for key, value in ran[path].items() if inspect.isfunction(value)]
        raise unknown(f"function of {file}", name, functions)
    made = ran[path][name]
    if is_module(made):
        return made
    if not callable(made):
        raise UsageError(f"{where} is of type {type(made).__name__}: name a function that returns an nn.Sequential")
    with _explained(path):
        takes = inspect.signature(made)
    try:
        takes.bind()
    except TypeError as error:
        way = f"name a function without any, such as one that returns {name}(…) with them"
        raise UsageError(f"{where}{takes} is called without arguments, but needs some ({error}): {way}") from error
    with _explained(path):
        return made()


def _run(path: Path) -> dict[str, Any]:
    """Return the names of a Python file once it has run; modules beside it can be imported, as by ``python FILE``."""
    import runpy

    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    sys.path.insert(0, str(path.parent.resolve()))
    with _explained(path, "; it is run as an import would run it: training belongs below `if __name__ == '__main__':`"):
        return runpy.run_path(str(path), run_name=path.stem)


@contextlib.contextmanager
def _explained(path: Path, hint: str = "") -> Iterator[None]:
    """Say of whatever a user's file raises what it is, and in which line of that file."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise UsageError(f'{path} needs PyTorch, which is not here: pip install "ganbench[torch]"') from error
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        at = f", line {lines[-1]}" if lines else ""
        raise UsageError(f"{path}{at}: {type(error).__name__}: {error}{hint}") from error
