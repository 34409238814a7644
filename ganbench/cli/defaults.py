"""Commands whose options may have defaults in ``[tool.ganbench]`` of the nearest ``pyproject.toml``."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..errors import UsageError, unknown
from .shared import given, option_of
from .terminal import columns, say

if TYPE_CHECKING:
    from ..settings import Setting

T = TypeVar("T")
TABLE = "[tool.ganbench]"
FAULT = "ganbench.fault"  # in the ``meta`` of a context: what is wrong with the project's file
# What names a file to write, or one run or model, belongs to one command and not to a project.
ONCE = "of_model output exports picture html run resume again sweep vary help version show_config".split()


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
    def options(self) -> list[click.Parameter]:
        """All options, but help; and the folder of results, which may be an argument."""
        own = (one for one in self.params if isinstance(one, click.Option) or one.name == "results")
        return [*self._of_settings, *own]

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
        """Read the command line; an error in a project's default says whose it is, but help comes before it."""
        try:
            left = super().parse_args(ctx, args)
        except click.UsageError as error:
            _tell_fault(ctx)
            param = error.param if isinstance(error, click.BadParameter) else None
            if param and param.name and of_project(ctx, param.name):
                raise click.BadParameter(f"{error.message} (from {TABLE} in {ctx.obj})", ctx, param) from error
            raise
        _tell_fault(ctx)
        return left

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command, saying which defaults are the project's."""
        options = [one for one in self.options if one.name != "show_config"]
        if ctx.params.pop("show_config"):
            return columns(("option", "value", "from"), (_line(ctx, one) for one in options))
        taken = [_called(one) for one in options if of_project(ctx, str(one.name))]
        if taken:
            say(f"defaults from {TABLE} in {ctx.obj}: {', '.join(taken)}")
        return super().invoke(ctx)


def of_project(ctx: click.Context, name: str) -> bool:
    """Return whether the value of an option is a project's default."""
    return ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP


def fitting(ctx: click.Context, make: Callable[..., T], settings: dict[str, Any]) -> T:
    """Return ``make(**settings)``; a project's default that ``yields`` to the command line gives way if it must."""
    from ..settings import SETTINGS

    try:
        return make(**settings)
    except UsageError as error:
        left = dict(settings)
        yielding = [one for one in SETTINGS if of_project(ctx, one) and given(ctx, *SETTINGS[one].yields)]
        for name in (one for one in yielding if one in left):
            left[name] = next(one.default for one in ctx.command.get_params(ctx) if one.name == name)
            with contextlib.suppress(UsageError):
                made = make(**left)
                say(f"{error}; so --{name} from {TABLE} in {ctx.obj} is not used")
                return made
        raise


def _said(ctx: click.Context, option: str) -> bool:
    """Whether an option stands on the command line; for ``option=value``, whether it has that value."""
    name, equals, value = option.partition("=")
    return str(ctx.params.get(name)) == value if equals else given(ctx, name) != []


def _tell_fault(ctx: click.Context) -> None:
    """Raise, or say, what is wrong with the project's file; once."""
    fault = ctx.meta.pop(FAULT, None)
    if isinstance(fault, UsageError):
        raise fault
    if fault is not None:
        say(f"{fault}; no defaults are read from it")


def read_project(ctx: click.Context, cli: click.Group) -> None:
    """Give all commands the defaults of the project that one stands in; a fault waits for a command.

    What cannot be read is nobody's fault here: it is said, and passed over.
    """
    try:
        ctx.obj = project_file(Path.cwd())
        ctx.default_map = defaults_from(ctx.obj, cli) if ctx.obj else None
    except (UsageError, _UnreadableError) as error:
        ctx.meta[FAULT] = error
    except OSError as error:
        ctx.meta[FAULT] = f"cannot look at {error.filename or 'the current folder'}: {error.strerror}"


class _UnreadableError(Exception):
    """A file that cannot be read, or that is no TOML and does not seem to have a table of ours."""


def project_file(folder: Path) -> Path | None:
    """Return the nearest ``pyproject.toml`` in a folder or above it; raises ``OSError`` where it cannot be seen."""
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISREG(path.stat().st_mode):
                return path
    return None


def defaults_from(path: Path, group: click.Group) -> dict[str, Any]:
    """Return click's ``default_map`` for all commands from a project's table.

    A key of the table is an option of any command that has it; a table below it belongs to one command. Raises
    ``UsageError`` for options, commands and values that cannot be, and for a file of ours that is no TOML.
    """
    from ..model_file import read_toml

    try:
        tools = read_toml(path).get("tool")
    except OSError as error:
        raise _UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        ours = b"ganbench" in path.read_bytes()  # to go on without what it asks for would measure something else
        raise (UsageError if ours else _UnreadableError)(f"cannot read {path}: {error}") from error
    table = _table(path, "tool.ganbench", tools.get("ganbench", {})) if isinstance(tools, dict) else {}
    known: dict[str, list[click.Parameter]] = {}
    for command in _commands(group):
        for key, option in _keys(command).items():
            known.setdefault(key, []).append(option)
    options = known.keys() - group.commands
    own = {key: value for key, value in table.items() if isinstance(value, dict) and key not in options}
    general = {key: value for key, value in table.items() if key not in own}
    for key, value in general.items():
        if key not in known:
            raise unknown(f"option in {TABLE} of {path}", key, known)
        if not any(_fits(option, value) for option in known[key]):
            valid = {name for one in known[key] if isinstance(one.type, click.Choice) for name in one.type.choices}
            raise unknown(f"{key} in {TABLE} of {path}", value, valid)
    return _of_group(path, "tool.ganbench", group, own, general)


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name} = {value!r} of {path} is not valid: it must be a table, [{name}]")
    return value


def _of_group(
    path: Path, name: str, group: click.Group, table: Mapping[str, Any], general: Mapping[str, Any]
) -> dict[str, Any]:
    for key in table:
        if key not in group.commands:
            raise unknown(f"command in [{name}] of {path}", key, group.commands)
    made: dict[str, Any] = {}
    for key, command in group.commands.items():
        whole = f"{name}.{key}"
        below = _table(path, whole, table.get(key, {}))
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


def _keys(command: Command) -> dict[str, click.Parameter]:
    return {_key(one): one for one in command.options if one.name not in ONCE}


def _key(option: click.Parameter) -> str:
    return max(option.opts, key=len).lstrip("-")


def _fits(option: click.Parameter, value: Any) -> bool:
    """Whether a value that counts for all commands may be that of this option."""
    return not isinstance(option.type, click.Choice) or value in option.type.choices


def _value(path: Path, option: click.Parameter, value: Any) -> Any:
    """Return a value as the command line would give it: text, or a list of texts where the option may be repeated.

    A path is meant from the folder of the file on.
    """
    is_flag, is_path = isinstance(option, click.Option) and option.is_flag, isinstance(option.type, click.Path)
    key = _key(option)
    fault = f"{key} = {value!r} in {TABLE} of {path} is not valid"
    words = value if isinstance(value, list) and not is_path else [value]
    if not all(isinstance(word, str | int | float) and isinstance(word, bool) == is_flag for word in words):
        valid = "true or false" if is_flag else "a path" if is_path else "a text, a number or a list"
        raise UsageError(f"{fault}: {valid}")
    if is_flag:
        return value
    if is_path and os.path.expandvars(str(value)) != str(value):
        raise UsageError(f"{fault}: $ has no meaning here, write the path")
    if is_path and value:
        try:
            place = Path(str(value)).expanduser()
            return str(place if path.parent == Path.cwd() else path.parent / place)
        except RuntimeError as error:
            raise UsageError(f"{fault}: there is no such home") from error
    if key == "python":  # programs; without a path: in PATH
        from ..launch import program

        pairs = [str(word).partition("=") for word in words]
        words = [f"{key}{eq}{path.parent / program(value) if os.sep in value else value}" for key, eq, value in pairs]
    return [str(word) for word in words] if option.multiple else ",".join(map(str, words))


def _called(option: click.Parameter) -> str:
    return option.opts[0] if isinstance(option, click.Option) else (option.metavar or "").strip("[]")


def _line(ctx: click.Context, option: click.Parameter) -> tuple[str, str, str]:
    """Return an option with its value and where that came from."""
    name = str(option.name)
    value = ctx.params.get(name)
    words = value if isinstance(value, list | tuple) else [value]
    origin = "command line" if given(ctx, name) else f"{TABLE} in {ctx.obj}" if of_project(ctx, name) else "default"
    return _called(option), ", ".join(str(word) for word in words if word is not None), origin
