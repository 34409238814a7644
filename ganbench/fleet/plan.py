"""The plan of a fleet: a TOML file of matrices, and the jobs that they mean. A job is one ``ganbench compare``."""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec

from ..errors import UsageError, plural, refused
from ..gan import PRESETS
from ..machine.environment import usable_cpus
from ..measure.models import model_of
from ..measure.plan import Plan, asked_again, record
from ..measure.sweep import Sweep, parse, plans
from ..model_file import as_toml, read_toml
from ..settings import LARGEST_INTEGER, OF_MODEL, SETTINGS, UNITS, Settings

MODEL = "model.toml"  # beside a run whose model no preset describes
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_INTEGER)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Line = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f]*$")]  # of a script
Location = Annotated[str, msgspec.Meta(pattern=r"^[^-\x00-\x1f][^\x00-\x1f]*$")]

WORDS = {"int": "an integer", "float": "a number", "str": "a text", "bool": "true or false", "array": "a list",
         "object": "a table", "null": ""}  # fmt: skip
KEYS = {setting.key.replace("-", "_"): setting for setting in SETTINGS.values() if setting.fleet}
_Asked: Any = msgspec.defstruct(
    "_Asked", [(key, one.hint | str if one.metavar in UNITS else one.hint, one.default) for key, one in KEYS.items()],
    kw_only=True, frozen=True, forbid_unknown_fields=True,
)  # fmt: skip


class Matrix(_Asked):  # type: ignore[misc]  # not known before it is run
    """What is compared with what: a job for each model, dtype, number of threads and value of the sweep.

    All ``backends`` are compared side by side in every job. No ``threads``: all cores of each machine. Every other
    setting of a run may be given, too, by its name on the command line.
    """

    backends: Annotated[list[Text], msgspec.Meta(min_length=1)]
    presets: tuple[Text, ...] = ()
    models: tuple[Text, ...] = ()  # TOML files, relative to the plan
    dtypes: tuple[Text, ...] = ()  # none: float32
    threads: tuple[Count, ...] = ()
    sweep: str = ""
    needs: tuple[Word, ...] = ()
    on: Literal["every", "any"] = "every"

    @property
    def settings(self) -> dict[str, Any]:
        """What is asked for in every job."""
        return {setting.name: setting.read(getattr(self, key)) for key, setting in KEYS.items()}


class Slurm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How machines are asked of SLURM: ``nodes`` of them, each for itself alone."""

    nodes: Count = 1
    partition: Line | None = None
    account: Line | None = None
    walltime: Line = "01:00:00"
    memory: Line = "4GB"
    directives: list[Line] = []  # such as --gres=gpu:1
    prologue: list[str] = []  # lines of shell before anything else, such as module load


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a host is used over SSH."""

    python: Location | None = None  # the interpreter there that has ganbench; None: that of here, or python3
    folder: Location | None = None  # where all is kept there; None: in the home


class Ssh(Host, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hosts are used over SSH: ``hosts`` are those of ``--cluster ssh``, and what is different on them."""

    hosts: dict[str, Host] = {}


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    matrix: Annotated[list[Matrix], msgspec.Meta(min_length=1)]
    slurm: Slurm = Slurm()
    ssh: Ssh = Ssh()


class Job(NamedTuple):
    """One run that is asked for: on every machine that fits, or on any one of them."""

    name: str  # for people
    plan: Plan  # as it would be here
    threads: int | None  # None: as many as the machine has cores
    arguments: tuple[str, ...]  # of ``ganbench compare``
    model: str  # the content of MODEL; '' where ``arguments`` name a preset
    needs: frozenset[str]
    every: bool


def read_plan(path: Path) -> FleetPlan:
    """Return the plan in a TOML file; raises ``UsageError`` naming the fault and what is valid."""
    try:
        with refused(UsageError, f"cannot read plan {path}"):
            return msgspec.convert(read_toml(path), FleetPlan)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"plan {path} is not valid: {_explained(str(error))}") from error


def _explained(fault: str) -> str:
    """Return what a checker of types found, in the words of plans; with what is valid, where that is known."""
    found = re.sub(r"`(\w+(?: \| \w+)*)`", _in_words, fault)
    found = re.sub(r" matching regex '\^\[\^\\\\x00.*'", " of one line", found)
    found = re.sub(r" matching regex '.*'", " without '-' at its start, and without odd characters", found)
    found = found.replace("Object missing required field", "it lacks").replace("Invalid enum value", "unknown")
    if "unknown field" not in fault:
        hints = {field.name: field.type for field in msgspec.structs.fields(Matrix)}
        valid = get_args(hints.get(fault.rstrip("`").rpartition(".")[2])) if "enum" in fault else ()
        return f"{found} (known: {', '.join(valid)})" if valid else found
    kinds = {"$.matrix": Matrix, "$.slurm": Slurm, "$.ssh.hosts": Host, "$.ssh": Ssh}
    kind = next((kind for place, kind in kinds.items() if place in fault), FleetPlan)
    return f"{found} (known: {', '.join(kind.__struct_fields__)})"


def _in_words(types: re.Match[str]) -> str:
    names = types[1].split(" | ")
    return " or ".join(filter(None, map(WORDS.__getitem__, names))) if WORDS.keys() >= set(names) else types[0]


def jobs_of(plan: FleetPlan, folder: Path) -> list[Job]:
    """Return every job of a plan whose models lie relative to ``folder``; each once.

    Raises ``UsageError`` for what no machine could do, with the number of the matrix.
    """
    found: dict[tuple[Any, ...], Job] = {}
    for number, matrix in enumerate(plan.matrix, 1):
        try:
            for job in _jobs(matrix, folder):
                found.setdefault((job.arguments, job.model, job.needs, job.every), job)
        except UsageError as error:
            raise UsageError(f"matrix {number} of the plan: {error}") from error
    return list(found.values())


def _jobs(matrix: Matrix, folder: Path) -> Iterator[Job]:
    asked, sweep = matrix.settings, parse(matrix.sweep) if matrix.sweep else Sweep("", (0,))
    said = [name for name in OF_MODEL if asked.get(name)]
    if sweep.variable in said + ["threads"] * bool(matrix.threads):
        name = sweep.variable
        raise UsageError(f"{name} and a sweep of {name} cannot be given together: choose one of them")
    if sweep.variable == "n" and (matrix.presets or matrix.models or said):
        raise UsageError("a sweep of n has its own models: leave out presets, models and settings of a model")
    models = [{"preset": name} for name in matrix.presets] + [{"model": folder / name} for name in matrix.models]
    of_threads = sweep.variable == "threads"
    for model, value, dtype in product(models or [{}], sweep.values, matrix.dtypes or ["float32"]):
        one, spec = Sweep("" if of_threads else sweep.variable, (value,)), model_of(Settings(**asked, **model))
        counts: Sequence[int | None] = [value] if of_threads else matrix.threads or [None]
        for threads in counts:
            # This machine may have fewer cores than the one that will measure.
            here = None if threads is None else min(threads, len(usable_cpus()))
            (plan,) = plans(one, spec, **{**asked, "dtype": dtype, "threads": here})
            yield _job(matrix, plan, threads)


def _job(matrix: Matrix, plan: Plan, threads: int | None) -> Job:
    spec = plan.spec
    known = spec.name in PRESETS and msgspec.structs.replace(PRESETS[spec.name], batch=spec.batch) == spec
    size = "" if threads is None else f", {plural(threads, 'thread')}"
    name = f"{spec.name} batch {spec.batch}, {plan.dtype}{size}: {','.join(plan.operations)}"
    return Job(
        name, plan, threads, arguments(plan, known, threads), "" if known else as_toml(spec),
        frozenset(need.lower() for need in matrix.needs), matrix.on == "every",
    )  # fmt: skip


def arguments(plan: Plan, known: bool, threads: int | None) -> tuple[str, ...]:
    """Return the options of ``ganbench compare`` that ask for ``plan``: all, so that no project's defaults count.

    A model that is not ``known`` as a preset is in a file called ``MODEL``.
    """
    asked = {**asked_again(record(plan)), "threads": threads, "fresh_ceilings": plan.fresh_ceilings}
    asked |= {"preset": plan.spec.name, "batch": plan.spec.batch} if known else {"model": MODEL}
    words: list[str] = []
    for name, value in asked.items():
        key = SETTINGS[name].key
        if isinstance(value, bool):
            words.append(f"--{key}" if value else f"--no-{key}")
        elif value is not None:
            words += [f"--{key}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return tuple(words)
