"""The plan of a fleet: a TOML file of matrices, and the jobs that they mean. A job is one ``ganbench compare``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from ..errors import UsageError
from ..gan import PRESETS, GANSpec, preset, read_spec
from ..measure.plan import DEFAULT_TIMEOUT_S, LARGEST_INTEGER, Plan, make_plan
from ..measure.sweep import PRODUCTS, altered, parse
from ..operations import DEFAULT_OPERATIONS
from ..results.run import Sweep

MODEL = "model.toml"  # beside a run whose model no preset describes
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_INTEGER)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared with what: a job for each model, dtype, number of threads and value of the sweep.

    All ``backends`` are compared side by side in every job. No ``threads``: all cores of each machine.
    """

    backends: Annotated[list[Text], msgspec.Meta(min_length=1)]
    presets: list[Text] = []
    models: list[Text] = []  # TOML files, relative to the plan
    ops: list[Text] = []
    dtypes: list[Text] = []  # none: float32
    math: str = ""
    threads: list[Count] = []
    sweep: str = ""
    baseline: str | None = None
    rigor: str = "quick"
    rounds: int | None = None
    budget: float | None = None  # seconds
    precision: float | None = None
    timeout: float = DEFAULT_TIMEOUT_S  # seconds
    needs: list[Word] = []
    on: Literal["every", "any"] = "every"


class Slurm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How machines are asked of SLURM: ``nodes`` of them, each for itself alone."""

    nodes: Count = 1
    partition: str | None = None
    account: str | None = None
    walltime: str = "01:00:00"
    memory: str = "4GB"
    directives: list[str] = []  # such as --gres=gpu:1
    prologue: list[str] = []  # lines of shell before anything else, such as module load


class Ssh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hosts are used over SSH."""

    python: str | None = None  # the interpreter there that has ganbench; None: at the same path as here


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
        return msgspec.toml.decode(path.read_bytes(), type=FleetPlan)
    except OSError as error:
        raise UsageError(f"cannot read plan {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"plan {path} is not valid: {error}{_valid(str(error))}") from error


def _valid(fault: str) -> str:
    """Return which keys there are, for a fault that is about a key."""
    if "unknown field" not in fault:
        return ""
    kinds = {"$.matrix": Matrix, "$.slurm": Slurm, "$.ssh": Ssh}
    kind = next((kind for place, kind in kinds.items() if place in fault), FleetPlan)
    return f" (known: {', '.join(kind.__struct_fields__)})"


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
    specs = [preset(name) for name in matrix.presets] + [read_spec(folder / name) for name in matrix.models]
    sweep = parse(matrix.sweep) if matrix.sweep else Sweep("", (0,))
    if sweep.variable == "threads" and matrix.threads:
        raise UsageError("threads and a sweep of threads cannot be given together: choose one of them")
    if sweep.variable == "n" and specs:
        raise UsageError("a sweep of n has its own models: leave out presets and models")
    operations = matrix.ops or list(PRODUCTS[:1] if sweep.variable == "n" else DEFAULT_OPERATIONS)
    if sweep.variable == "n" and (others := set(operations) - set(PRODUCTS)):
        raise UsageError(f"sweep of n: {', '.join(sorted(others))} is not a matrix product ({', '.join(PRODUCTS)})")
    for spec in specs or [preset("mnist-mlp")]:
        for value in sweep.values:
            model = altered(spec, sweep.variable, value)
            counts: list[int | None] = [value] if sweep.variable == "threads" else [*matrix.threads] or [None]
            for dtype in matrix.dtypes or ["float32"]:
                for threads in counts:
                    yield _job(matrix, model, operations, dtype, threads)


def _job(matrix: Matrix, spec: GANSpec, operations: list[str], dtype: str, threads: int | None) -> Job:
    # Without threads: this machine may have fewer cores than the one that will measure.
    plan = make_plan(
        spec, backends=matrix.backends, ops=operations, dtype=dtype, math=matrix.math, baseline=matrix.baseline,
        rigor=matrix.rigor, rounds=matrix.rounds, budget_s=matrix.budget, precision_goal=matrix.precision,
        timeout_s=matrix.timeout,
    )  # fmt: skip
    known = spec.name in PRESETS and msgspec.structs.replace(PRESETS[spec.name], batch=spec.batch) == spec
    size = "" if threads is None else f", {threads} thread{'s' * (threads != 1)}"
    name = f"{spec.name} batch {spec.batch}, {dtype}{size}: {','.join(plan.operations)}"
    model = "" if known else as_toml(spec)
    return Job(
        name, plan, threads, arguments(plan, known, threads), model, frozenset(matrix.needs), matrix.on == "every"
    )


def arguments(plan: Plan, known: bool, threads: int | None) -> tuple[str, ...]:
    """Return the options of ``ganbench compare`` that ask for ``plan``: all, so that no project's defaults count.

    A model that is not ``known`` as a preset is in a file called ``MODEL``.
    """
    options = {
        "--backends": ",".join(target.label for target in plan.targets),
        "--baseline": plan.baseline,
        "--ops": ",".join(plan.operations),
        **({"--preset": plan.spec.name, "--batch": plan.spec.batch} if known else {"--model": MODEL}),
        "--dtype": plan.dtype,
        "--math": plan.precision,
        **({} if threads is None else {"--threads": threads}),
        "--rigor": plan.rigor_name,
        **({"--rounds": plan.rigor.rounds} if plan.rigor.rounds else {"--precision": plan.rigor.goal}),
        "--budget": plan.rigor.budget_s,
        "--timeout": plan.timeout_s,
    }
    return tuple(str(word) for pair in options.items() for word in pair)


def as_toml(spec: GANSpec) -> str:
    """Return a model as ``read_spec`` reads it: its numbers, texts and lists are written alike in JSON and TOML."""
    fields = msgspec.to_builtins(spec).items()
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields)
