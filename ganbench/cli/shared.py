"""Options that several commands share, or that are made from the declarations of settings, and how they are read."""

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import UsageError
from ..report.choices import ENDINGS, format_of
from .terminal import check_output

if TYPE_CHECKING:
    from ..settings import Setting

Function = Callable[..., Any]  # of a command


class _Place(click.Path):
    """A path; refused is what no system takes for one, and '', which ``pathlib`` takes for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty: is a variable of the shell not set?", param, ctx)
        try:
            os.lstat(value)
        except (OSError, ValueError) as error:  # what is not there may still come to be
            if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
                self.fail(f"{str(value)[:60]!r}... is no path: {getattr(error, 'strerror', error)}", param, ctx)
        return super().convert(value, param, ctx)


FILE = _Place(path_type=Path)
TYPES = {"N": int, "FACTOR": float, "TIME": str, "SHARE": str, "FILE": FILE, "PATH": FILE}  # by metavar

results_option = click.option(
    "--results", default="results", show_default=True, type=FILE, metavar="DIR",
    help="Folder in which every run is saved.",
)  # fmt: skip
details_option = click.option(
    "--details/--no-details", help="Add start-up, memory, ceilings, floor and disturbance to the table."
)


def format_option(choices: Sequence[str]) -> Callable[[Function], Function]:
    """Return the option that says in which of ``choices`` a report is printed."""
    return click.option("--format", "form", default="table", show_default=True, type=click.Choice(choices))


def export_option(choices: Sequence[str]) -> Callable[[Function], Function]:
    """Return the option that names files in any of these formats, which are written beside what is printed."""
    endings = [ending for ending, form in ENDINGS.items() if form in choices]

    def checked(ctx: click.Context, param: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if format_of(path.name) not in choices:
                valid = f"the name of such a file ends in one of {', '.join(endings)}"
                raise click.BadParameter(f"cannot write {path}: {valid}", ctx, param)
            check_output(path)
        return paths

    text = f"Write a file beside what is printed: {', '.join(endings)}.  [repeatable]"
    return click.option("--export", "exports", type=FILE, metavar="FILE", multiple=True, callback=checked, help=text)


def option_of(setting: "Setting") -> click.Option:
    """Return the option that a setting is on the command line."""
    default, shown = setting.default, setting.default not in (None, "")
    text = f"{setting.help}  [default: {setting.usual}]" if setting.usual and not shown else setting.help
    if not setting.metavar:
        return click.Option([setting.name, f"--{setting.key}/--no-{setting.key}"], default=default, help=setting.help)
    several = "=" in setting.metavar  # pairs, each by an option of its own
    if setting.metavar == "TIME" and shown:
        default = f"{default:g}s"

    def checked(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        """Return what a value means; what is wrong with it names the option, and the file that it is from."""
        try:
            value = setting.read(",".join(value) if isinstance(value, tuple) else value)
            setting.check(value)
        except UsageError as error:
            raise click.BadParameter(str(error), ctx, param) from error
        return value

    return click.Option(
        [setting.name, f"--{setting.key}", *setting.also], type=TYPES.get(setting.metavar), metavar=setting.metavar,
        default=default or None if several else default, show_default=shown, help=text, callback=checked,
        multiple=several,
    )  # fmt: skip


def given(context: click.Context, *names: str) -> list[str]:
    """Return which of these options stand on the command line."""
    return [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]


def refuse(context: click.Context, names: Iterable[str], beside: str) -> None:
    """Raise ``UsageError`` if one of these options stands on the command line, ``beside`` what it cannot stand with."""
    refused = given(context, *names)
    for option in context.command.get_params(context):
        if option.name in refused:
            raise UsageError(f"{option.opts[0]} cannot be given with {beside}")
