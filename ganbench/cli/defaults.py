"""Commands whose options may have defaults in ``[tool.ganbench]`` of the nearest ``pyproject.toml``."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import UsageError, unknown
from .shared import given, option_of
from .terminal import columns, say

if TYPE_CHECKING:
    from ..settings import Setting

TABLE = "[tool.ganbench]"
# What names a file to write, or one run, belongs to one command and not to a project.
ONCE = ("output", "picture", "html", "run", "resume", "sweep", "vary", "help", "version", "show_config")
SOURCES = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.DEFAULT_MAP: TABLE,
    ParameterSource.DEFAULT: "default",
}


class Command(click.Command):
    """A command whose options may have defaults in a project, and which can show them.

    ``settings`` are names of ``ganbench.settings``, or of the fields that record them; ``*`` is all the others.
    ``changes`` are of their declarations, for this command alone. ``replaces`` says for an option, or for
    ``option=value``, with which others it cannot stand: where it is given, their defaults in a project do not count.
    """

    def __init__(
        self, *arguments: Any, settings: str = "", changes: Mapping[str, dict[str, Any]] | None = None,
        replaces: Mapping[str, Sequence[str]] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(*arguments, **more)
        self._settings, self._changes, self._replaces = settings.split(), changes or {}, replaces or {}
        text = f"Show each option's value and where it came from ({TABLE} in pyproject.toml), and stop."
        self.params.append(click.Option(["--show-config"], is_flag=True, help=text))

    @cached_property
    def _of_settings(self) -> "dict[click.Option, Setting]":
        """The options that are made from settings; only who needs them waits for their declaration, 20 ms."""
        if not self._settings:
            return {}
        from ..settings import SETTINGS

        found: dict[str, Setting] = {}
        for word in self._settings:
            found |= {name: one for name, one in SETTINGS.items() if word in (name, one.recorded, "*")} | found
        chosen = [one._replace(**self._changes.get(name, {})) for name, one in found.items()]
        return {option_of(one): one for one in chosen}

    @property
    def options(self) -> list[click.Option]:
        """All options, but help."""
        return [*self._of_settings, *(one for one in self.params if isinstance(one, click.Option))]

    @property
    def replaces(self) -> dict[str, Sequence[str]]:
        """For each option, of which others it replaces the defaults of a project."""
        return {**{one.name: one.instead for one in self._of_settings.values()}, **self._replaces}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return arguments and options, those made from settings first."""
        return [*self._of_settings, *super().get_params(ctx)]

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; a project's defaults that do not fit it are dropped."""
        context = super().make_context(info_name, list(args), parent, **extra)
        unfit = {other for option, others in self.replaces.items() if _said(context, option) for other in others}
        if not unfit & (context.default_map or {}).keys():
            return context
        kept = {name: value for name, value in (context.default_map or {}).items() if name not in unfit}
        return super().make_context(info_name, args, parent, **{**extra, "default_map": kept})

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
        sources = {one: ctx.get_parameter_source(str(one.name)) for one in self.options if one.name != "show_config"}
        if ctx.params.pop("show_config"):
            return columns(("option", "value", "from"), (_line(ctx, *pair) for pair in sources.items()))
        taken = [option.opts[0] for option, source in sources.items() if source is ParameterSource.DEFAULT_MAP]
        if taken:
            say(f"defaults from {TABLE} in {ctx.obj}: {', '.join(taken)}")
        return super().invoke(ctx)


def _said(ctx: click.Context, option: str) -> bool:
    """Whether an option stands on the command line; for ``option=value``, whether it has that value."""
    name, equals, value = option.partition("=")
    return str(ctx.params.get(name)) == value if equals else given(ctx, name) != []


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
    known: dict[str, list[click.Option]] = {}
    for command in _commands(group):
        for key, option in _keys(command).items():
            known.setdefault(key, []).append(option)
    for key, value in general.items():
        if key not in known:
            raise unknown(f"option in {TABLE} of {path}", key, known)
        if not any(_fits(option, value) for option in known[key]):
            valid = {name for one in known[key] if isinstance(one.type, click.Choice) for name in one.type.choices}
            raise unknown(f"{key} in {TABLE} of {path}", value, valid)
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
        assert isinstance(command, Command)
        options = _keys(command)
        for one in below:
            if one not in options:
                raise unknown(f"option in [{whole}] of {path}", one, options)
        replaced = {other for one in below for other in command.replaces.get(str(options[one].name), ())}
        mine = {
            one: value
            for one, value in general.items()
            if one in options and options[one].name not in replaced and _fits(options[one], value)
        }
        made[key] = {options[one].name: _value(path, options[one], value) for one, value in {**mine, **below}.items()}
    return made


def _commands(group: click.Group) -> Iterator[Command]:
    for one in group.commands.values():
        if isinstance(one, click.Group):
            yield from _commands(one)
        elif isinstance(one, Command):
            yield one


def _keys(command: Command) -> dict[str, click.Option]:
    return {max(one.opts, key=len).lstrip("-"): one for one in command.options if one.name not in ONCE}


def _fits(option: click.Option, value: Any) -> bool:
    """Whether a value that counts for all commands may be that of this option."""
    return not isinstance(option.type, click.Choice) or value in option.type.choices


def _value(path: Path, option: click.Option, value: Any) -> Any:
    """Return a value as the command line would give it: text, or a list of texts where the option may be repeated."""
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str | int | float) for word in words) or (
        option.is_flag and value not in (True, False)
    ):
        raise UsageError(
            f"{option.opts[0][2:]} = {value!r} in {TABLE} of {path} is not valid: a text, a number or a list"
        )
    if option.is_flag:
        return value
    return [str(word) for word in words] if option.multiple else ",".join(map(str, words))


def _line(ctx: click.Context, option: click.Option, source: ParameterSource | None) -> tuple[str, str, str]:
    """Return an option with its value and where that came from."""
    value = ctx.params.get(str(option.name))
    words = value if isinstance(value, list | tuple) else [value]
    origin = SOURCES.get(source, "default") if source else "default"
    where = f" in {ctx.obj}" if source is ParameterSource.DEFAULT_MAP else ""
    return option.opts[0], ", ".join(str(word) for word in words if word is not None), origin + where
