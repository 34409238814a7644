"""Every setting of a run, declared once: its name, type, default and meaning, what is valid, what differs by it.

All else is made from these declarations: the options of the commands, the defaults in ``[tool.ganbench]``, the keywords
of ``ganbench.compare``, the keys of a fleet's plan, the record in a run's header, what a run that is resumed takes up
again, what two runs differ in, and the table in the documentation.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec

from .errors import UsageError, unknown

Caches = Literal["warm", "cold"]  # whether an operation finds its arrays there, or nowhere near
LARGEST_INTEGER = 2**63 - 1  # of the messages to a worker
HARDLY = 1.05  # how many times a time that was asked for may be taken


class Rigor(msgspec.Struct, frozen=True):
    """How much care a run takes; times in seconds, ``goal`` is the half-width of an interval.

    Where ``rounds`` is given, the visits of a round take ``case_s`` for each case; otherwise what ``budget_s`` allows.
    ``overrun`` is how many times ``budget_s`` the rounds may take without which nothing is decided.
    """

    case_s: float
    warm_cap_s: float
    budget_s: float
    goal: float
    overrun: float = HARDLY
    rounds: int = 0  # 0: until the goal or the budget is reached


RIGORS = {
    "quick": Rigor(case_s=0.4, warm_cap_s=0.1, budget_s=85.0, goal=0.03, overrun=2.0),
    "full": Rigor(case_s=0.5, warm_cap_s=1.0, budget_s=300.0, goal=0.01, overrun=2.0),
}


def _each(form: str) -> str:
    return ", ".join(f"{form.format(rigor)} {name}" for name, rigor in RIGORS.items())


NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
UNITS = {  # by metavar: what the units of a text count for, and examples
    "TIME": ({"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}, "such as 120, 120s or 2m"),
    "SHARE": ({"": 1.0, "%": 0.01}, "such as 1% or 0.01"),
}


def _count(least: int) -> Callable[[str, int], None]:
    def check(name: str, value: int) -> None:
        if value < least:
            raise UsageError(f"{name} {value} is not valid: at least {least}")
        if value > LARGEST_INTEGER:
            raise UsageError(f"{name} {value} is not valid: at most {LARGEST_INTEGER}")

    return check


def _between_0_and(limit: float, valid: str) -> Callable[[str, float], None]:
    def check(name: str, value: float) -> None:
        if not 0 < value < limit:
            raise UsageError(f"{name} {value:g} is not valid: {valid}")

    return check


_seconds = _between_0_and(inf, "a positive number of seconds")
_positive = _between_0_and(inf, "a positive number, such as 0.5 or 2")
_share = _between_0_and(1, "more than 0 and less than 1, such as 0.01 or 1%")


class Setting(NamedTuple):
    """What there is to say of a setting; its ``name``, ``hint`` and ``default`` are those of the field that it is."""

    help: str
    metavar: str = ""  # what the command line takes, which is read accordingly; '' for a flag
    key: str = ""  # its name there, in [tool.ganbench] and in a fleet's plan, where it is not the field's
    also: tuple[str, ...] = ()  # further names on the command line
    usual: str = ""  # the default in words, where None stands for it
    choices: tuple[str, ...] = ()
    valid: Callable[[str, Any], None] | None = None  # raises ``UsageError``
    instead: tuple[str, ...] = ()  # of which other settings it may be given
    yields: tuple[str, ...] = ()  # to which others on the command line a project's default of it gives way
    recorded: str = ""  # the field of a run's header that holds it, where that has another name; '-' for none
    differing: Literal["", "told", "refused"] = ""  # what two runs are that differ in it, when they are compared
    varied: bool = False  # whether it is an ingredient of a run, whose price ``compare --vary`` may measure
    fleet: bool = True  # whether it is a key of a fleet's plan; not if that lists values of it, or no machine has it
    name: str = ""
    hint: Any = None
    default: Any = None

    def read(self, value: Any) -> Any:
        """Return the seconds that the text ``2m`` means, or the share that ``1%`` does; all else as it is."""
        if self.metavar not in UNITS or not isinstance(value, str):
            return value
        units, examples = UNITS[self.metavar]
        match = re.fullmatch(rf"({NUMBER})\s*([a-z%]*)", value.strip(), re.IGNORECASE | re.ASCII)
        if match is None or match[2].lower() not in units:
            raise UsageError(f"{self.key} '{value}' is not valid: {examples}")
        number, unit = float(match[1]), match[2].lower()
        return number / 100 if unit == "%" else number * units[unit]  # 7 * 0.01 is not 0.07

    def check(self, value: Any) -> None:
        """Raise ``UsageError`` unless ``value`` is valid; None always is."""
        if value is not None and self.choices and value not in self.choices:
            raise unknown(self.key, value, self.choices)
        if value is not None and self.valid:
            self.valid(self.key, value)


_of_model = partial(Setting, recorded="spec", differing="refused")
_changed = partial(_of_model, usual="the model's own", varied=True)
Names = str | Sequence[str]
Widths = str | Sequence[int] | None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that a plan and a run's header hold as they are asked for; defaults are those of files without them."""

    dtype: Annotated[
        str, Setting("float32, float64, bfloat16 or float16.", "NAME", differing="refused", varied=True, fleet=False,
                     yields=("math",))
    ] = "float32"  # fmt: skip
    timeout_s: Annotated[
        float, Setting("Stop a worker that does not answer within this time.", "TIME", key="timeout", valid=_seconds)
    ] = 120.0
    seed: Annotated[
        int, Setting("Seed of the chosen real data and of the order of visits.", "N", valid=_count(0), differing="told")
    ] = 0
    caches: Annotated[
        Caches, Setting("cold: empty the caches (of a GPU: L2) before each call of a single operation.",
                        choices=get_args(Caches), also=("--l2",), differing="refused", varied=True,
                        yields=("ops", "threads", "energy"))
    ] = "warm"  # fmt: skip
    energy: Annotated[
        bool, Setting("Measure energy, too; takes half a second more for each case in each round.", differing="told")
    ] = False
    count: Annotated[
        bool, Setting("Count instructions of one thread under Valgrind, not time: did a mode change between versions?",
                      differing="refused")
    ] = False  # fmt: skip


class Settings(Recorded, frozen=True, kw_only=True):
    """All that a run is asked for. Raises ``UsageError`` for a value that no run could have."""

    backends: Annotated[
        Names, Setting("Targets backend[.mode][@device], separated by commas.", "TARGETS", recorded="targets")
    ] = "numpy,torch,jax"
    devices: Annotated[
        Names, Setting("Devices to run every backend on: cpu, cuda, cuda:1.", "LIST", recorded="targets",
                       yields=("backends",))
    ] = ""  # fmt: skip
    python: Annotated[
        Names, Setting("Run a backend in another Python, which has its framework: jax=/opt/jax/bin/python, or "
                       "torch@cuda=... Results are still checked here.  [repeatable]", "BACKEND=PYTHON",
                       recorded="targets")
    ] = ""  # fmt: skip
    ops: Annotated[
        Names | None, Setting("Operations to run, or 'all'.", "LIST", usual="marked in 'list'", recorded="operations",
                              yields=("caches",))
    ] = None  # fmt: skip
    preset: Annotated[
        str | None, _of_model("A model by name; see 'list'.", "NAME", usual="mnist-mlp", fleet=False,
                              instead=("model", "generator", "discriminator"))
    ] = None  # fmt: skip
    model: Annotated[
        str | Path | None, _of_model("A model described in a TOML file.", "FILE", fleet=False,
                                     instead=("preset", "generator", "discriminator"))
    ] = None  # fmt: skip
    generator: Annotated[
        Widths, _of_model("Layer widths of the generator, such as 64,256,784.", "WIDTHS", instead=("preset", "model"))
    ] = None
    discriminator: Annotated[
        Widths, _of_model("Layer widths of the discriminator, such as 784,1.", "WIDTHS", instead=("preset", "model"))
    ] = None
    batch: Annotated[int | None, _changed("Batch size.", "N")] = None
    loss: Annotated[str | None, _changed("Loss of both networks, such as wgan-gp; see 'list'.", "NAME")] = None
    critic_steps: Annotated[
        int | None, _changed("Steps on the discriminator in an iteration.", "N", valid=_count(1))
    ] = None
    batch_norm: Annotated[
        str | None, _changed("off: no batch norm; generator: only in the generator.", choices=("off", "generator"))
    ] = None
    channels: Annotated[
        float | None, _changed("Multiply the channels of hidden convolutions: 0.5, 2.", "FACTOR", valid=_positive)
    ] = None
    threads: Annotated[
        int | None, Setting("Threads that every framework gets.", "N", usual="all cores", differing="refused",
                            varied=True, fleet=False)
    ] = None  # fmt: skip
    data: Annotated[
        str | Path | None, Setting("Real data: an IDX (.gz), .npy or .npz file, or a folder of PNG, JPEG or WAV files.",
                                   "PATH", usual="UCI handwritten digits", differing="refused", fleet=False)
    ] = None  # fmt: skip
    math: Annotated[
        str, Setting("How matrix products are computed: ieee, tf32 or mixed.", "NAME", differing="refused", varied=True,
                     usual="ieee; mixed for float16 and bfloat16", recorded="precision", yields=("dtype",))
    ] = ""  # fmt: skip
    baseline: Annotated[
        str | None, Setting("The target that speeds are relative to.", "TARGET", usual="the first",
                            yields=("backends", "devices"))
    ] = None  # fmt: skip
    rigor: Annotated[
        str, Setting("How long and how carefully to measure.", choices=tuple(RIGORS), differing="refused")
    ] = "quick"
    rounds: Annotated[
        int | None, Setting("Measure exactly N rounds.", "N", usual="until precise, or the budget is spent",
                            valid=_count(1), instead=("precision_goal",), recorded="settings")
    ] = None  # fmt: skip
    precision_goal: Annotated[
        float | None, Setting("Stop when no interval is wider than ± this: 1%, 0.01.", "SHARE", key="precision",
                              usual=_each("{0.goal:.0%}"), valid=_share, instead=("rounds",), recorded="settings")
    ] = None  # fmt: skip
    budget_s: Annotated[
        float | None, Setting("Stop after this time, precise or not: 120s, 2m.", "TIME", key="budget",
                              usual=f"{_each('{0.budget_s:g}s')}; up to twice that for five rounds", valid=_seconds,
                              recorded="settings")
    ] = None  # fmt: skip
    fresh_ceilings: Annotated[
        bool, Setting("Measure the ceilings of this machine again; use none of an earlier run.", recorded="-")
    ] = False

    def __post_init__(self) -> None:
        for setting in SETTINGS.values():
            setting.check(getattr(self, setting.name))


def _declared() -> dict[str, Setting]:
    found = {}
    for field in msgspec.structs.fields(Settings):
        hint, said = get_args(field.type)
        found[field.name] = said._replace(
            key=said.key or field.name.replace("_", "-"),
            metavar=said.metavar or "|".join(said.choices),
            recorded=said.recorded or field.name,
            name=field.name,
            hint=hint,
            default=field.default,
        )
    return found


SETTINGS = _declared()
OF_MODEL = tuple(name for name, setting in SETTINGS.items() if setting.recorded == "spec")  # what makes a GANSpec
