"""Defaults of options, from ``[tool.ganbench]`` in the nearest ``pyproject.toml``, and where each value came from."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import UsageError, unknown
from .terminal import columns, say

TABLE = "[tool.ganbench]"
# What names a file to write, or one run, belongs to one command and not to a project.
ONCE = ("output", "picture", "html", "run", "resume", "sweep", "help", "version", "show_config")
SOURCES = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.DEFAULT_MAP: TABLE,
    ParameterSource.DEFAULT: "default",
}


class Command(click.Command):
    """A command whose options may have defaults in a project, and which can show them."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        text = f"Show each option's value and where it came from ({TABLE} in pyproject.toml), and stop."
        self.params.append(click.Option(["--show-config"], is_flag=True, help=text))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; an error in a project's default says whose it is."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = error.param.name if error.param else None
            if name and ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
                raise click.BadParameter(f"{error.message} (from {TABLE} in {ctx.obj})", ctx, error.param) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command, saying which defaults are the project's."""
        if ctx.params.pop("show_config"):
            return columns(("option", "value", "from"), _shown(ctx))
        taken = [option.opts[0] for option in _options(self) if _source(ctx, option) is ParameterSource.DEFAULT_MAP]
        if taken:
            say(f"defaults from {TABLE} in {ctx.obj}: {', '.join(taken)}")
        return super().invoke(ctx)


def project_file(folder: Path) -> Path | None:
    """Return the nearest ``pyproject.toml`` in a folder or above it, if it has a table of ours."""
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            return path if b"tool.ganbench" in path.read_bytes() else None
    return None


def defaults_from(path: Path, group: click.Group) -> dict[str, Any]:
    """Return click's ``default_map`` for all commands from a project's table.

    A key of the table is an option of any command that has it; a table below it belongs to one command. Raises
    ``UsageError`` for a file that is not TOML, and for options, commands and values that cannot be.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("ganbench", {})
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    general = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key in general:
        if key not in (known := set(_keys(group))):
            raise unknown(f"option in {TABLE} of {path}", key, known)
    return _of_group(path, "tool.ganbench", group, table, general)


def _of_group(
    path: Path, name: str, group: click.Group, table: Mapping[str, Any], general: Mapping[str, Any]
) -> dict[str, Any]:
    own = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key in own:
        if key not in group.commands:
            raise unknown(f"command in [{name}] of {path}", key, group.commands)
    made: dict[str, Any] = {}
    for key, command in group.commands.items():
        whole, below = f"{name}.{key}", own.get(key, {})
        if isinstance(command, click.Group):
            made[key] = _of_group(path, whole, command, below, general)
            continue
        options = {_key(option): option for option in _options(command)}
        for one in below:
            if one not in options:
                raise unknown(f"option in [{whole}] of {path}", one, options)
        made[key] = {
            option.name: _value(path, option, below.get(one, general.get(one)))
            for one, option in options.items()
            if one in below or one in general
        }
    return made


def _keys(command: click.Command) -> Iterator[str]:
    """Yield the options of a command, or of all commands of a group."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            yield from _keys(one)
    yield from map(_key, _options(command))


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option) and one.name not in ONCE]


def _key(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def _value(path: Path, option: click.Option, value: Any) -> Any:
    """Return a value as the command line would give it: text, or a list of texts where the option may be repeated."""
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str | int | float) for word in words) or (
        option.is_flag and value not in (True, False)
    ):
        raise UsageError(f"{_key(option)} = {value!r} in {TABLE} of {path} is not valid: a text, a number or a list")
    if option.is_flag:
        return value
    return [str(word) for word in words] if option.multiple else ",".join(map(str, words))


def _source(ctx: click.Context, option: click.Option) -> ParameterSource | None:
    return ctx.get_parameter_source(str(option.name))


def _shown(ctx: click.Context) -> Iterator[tuple[str, str, str]]:
    """Yield each option with its value and where that came from."""
    for option in (one for one in ctx.command.params if isinstance(one, click.Option) and one.name != "show_config"):
        value, source = ctx.params.get(str(option.name)), _source(ctx, option)
        words = value if isinstance(value, list | tuple) else [value]
        origin = SOURCES.get(source, "default") if source else "default"
        where = f" in {ctx.obj}" if source is ParameterSource.DEFAULT_MAP else ""
        yield option.opts[0], ", ".join(str(word) for word in words if word is not None), origin + where
