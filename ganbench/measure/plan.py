"""From what was asked for to a list of cases, or an error that says what is valid; and from a record back to that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .. import registry
from ..errors import UsageError, as_utf8, from_utf8, plural
from ..gan import GANSpec
from ..machine.environment import can_pin, usable_cpus
from ..operations import ITERATION, OPERATIONS, default_operations, operation, operations_of
from ..operations.products import FLOOR
from ..precision import precision_of
from ..registry import Target, library_of
from ..results.records import DIGITS
from ..results.statistics import MIN_ROUNDS
from ..settings import HARDLY, RIGORS, SETTINGS, Recorded, Rigor, Settings
from . import engine
from .models import model_of


class Case(msgspec.Struct, frozen=True):
    """One thing to measure; ``copy`` is the second copy of the baseline, the A/A control."""

    operation: str
    target: Target
    copy: bool = False


class Plan(Recorded, frozen=True, kw_only=True):
    """One run: the model, and what is compared on it, how."""

    spec: GANSpec
    operations: tuple[str, ...]
    targets: tuple[Target, ...]
    baseline: str
    precision: str
    cpus: tuple[int, ...]
    data: Path | None
    rigor_name: str
    rigor: Rigor
    fresh_ceilings: bool  # measure them anew, some seconds, even where an earlier run has kept them
    timed: bool = True
    control: bool = False  # the A/A control even where there is nothing to compare
    ceilings: bool = True  # hold the rows against what the hardware could do at best

    @property
    def threads(self) -> int:
        """How many threads every framework gets."""
        return len(self.cpus)

    @property
    def pinned_cpus(self) -> tuple[int, ...]:
        """The processors to which workers are pinned; none where the system cannot do that."""
        return self.cpus if can_pin() else ()

    @property
    def members(self) -> list[tuple[Target, bool]]:
        """Every worker of a round: each target, and the control copy of the baseline."""
        members = [(target, False) for target in self.targets]
        if self.timed and (self.control or len(self.targets) > 1):
            members += [(target, True) for target in self.targets if target.label == self.baseline]
        return members

    def names(self, target: Target, copy: bool, number: int) -> tuple[str, ...]:
        """Return the operations that a member is timed on in round ``number``: those asked for, and a floor.

        The matrix products of an iteration are timed once for each library on each device, and only in the first
        rounds, because no target is compared with them.
        """
        asked = self.operations
        if copy or not self.timed or ITERATION not in asked or FLOOR in asked or number > MIN_ROUNDS:
            return asked
        return (*asked, FLOOR) if self.speaks_for_library(target, copy) else asked

    def speaks_for_library(self, target: Target, copy: bool) -> bool:
        """Whether ceilings and floor of a library on a device are measured by this member."""
        return not copy and target == library_of(target, self.targets)

    def timed_operations(self, number: int) -> tuple[str, ...]:
        """Return every operation of round ``number``, in the order in which they are timed."""
        return tuple(dict.fromkeys(name for member in self.members for name in self.names(*member, number)))

    @property
    def cases(self) -> list[Case]:
        """Everything that was asked for, as it is measured in one round."""
        return [Case(name, *member) for name in self.operations for member in self.members]


def make_plan(spec: GANSpec | None = None, *, timed: bool = True, ceilings: bool = True, **asked: Any) -> Plan:
    """Return a plan whose every name exists; raises ``UsageError`` naming what is valid.

    ``asked`` are fields of ``Settings``, of which ``spec`` takes the place of those that name a model.
    ``precision_goal`` is the half-width that every ratio's 95 % interval must reach, as a fraction; it has
    nothing to do with the precision of the arithmetic, which ``dtype`` and ``math`` say. ``budget_s`` outranks it.
    Either is the rigor's unless given.
    """
    settings = Settings(**asked)
    split = registry.split_list
    pythons = registry.parse_pythons(settings.python)
    targets = registry.parse_targets(split(settings.backends), split(settings.devices), pythons)
    spec = spec or model_of(settings)
    operations = _operations(settings.ops, spec)
    precision = precision_of(settings.dtype, settings.math)
    cpus, threads = usable_cpus(), settings.threads
    if threads is not None and not 1 <= threads <= len(cpus):
        raise UsageError(f"threads {threads} is not valid: this machine offers 1 to {len(cpus)}")
    if settings.count:
        _check_count(settings)
    cpus = cpus[:1] if settings.count else cpus[:threads]
    if settings.caches == "cold":
        _check_cold(operations, any(target.device == "cpu" for target in targets), len(cpus), settings.energy)
    return Plan(
        **{name: getattr(settings, name) for name in Recorded.__struct_fields__},
        spec=spec,
        operations=operations,
        targets=tuple(targets),
        baseline=targets[0].label if settings.baseline is None else _baseline(settings.baseline, targets, pythons),
        precision=precision,
        cpus=tuple(cpus),
        data=None if settings.data is None else Path(settings.data),
        rigor_name=settings.rigor,
        rigor=reaching(RIGORS[settings.rigor], settings.rounds, settings.budget_s, settings.precision_goal),
        fresh_ceilings=settings.fresh_ceilings,
        timed=timed and not settings.count,
        ceilings=ceilings,
    )


def length(rigor: Rigor, runs: int = 1) -> str:
    """Return in words how long a run may take, or each of several and all together."""
    each = " each" * (runs > 1)
    if rigor.rounds:
        return f"{plural(rigor.rounds, 'round')}{each}, however long they take"
    total = f", {runs * rigor.budget_s / 60:.1f} minutes in all" * (runs > 1)
    most_s = rigor.overrun * rigor.budget_s
    longer = f"up to {most_s:.0f} s if {MIN_ROUNDS} rounds need it; " * (rigor.overrun > HARDLY)
    return f"up to {rigor.budget_s:g} s{each} ({longer}or one round, if that takes longer){total}"


def announcement(plan: Plan) -> str:
    """Return in one sentence what is about to be measured, and how long that may take."""
    targets = ", ".join(target.label for target in plan.targets)
    time = "instructions are counted, a minute or more for each target" if plan.count else length(plan.rigor)
    return f"{targets} on {', '.join(plan.operations)} of {plan.spec.name}: {time}"


ASKED = (*Recorded.__struct_fields__, *"spec operations targets baseline precision threads data rigor settings".split())


def record(plan: Plan) -> dict[str, Any]:
    """Return what the header of a run says of its plan, in its fields ``ASKED``."""
    return {
        **{name: getattr(plan, name) for name in Recorded.__struct_fields__},
        "spec": plan.spec,
        "operations": list(plan.operations),
        "targets": list(plan.targets),
        "baseline": plan.baseline,
        "precision": plan.precision,
        "threads": plan.threads,
        "data": as_utf8(str(plan.data or DIGITS)),
        "rigor": plan.rigor_name,
        "settings": {"engine": engine.VERSION, **msgspec.to_builtins(plan.rigor)},
    }


def asked_again(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to ask ``make_plan`` for, besides the model, to get the plan that was recorded so."""
    rounds, goal, budget_s = (said["settings"][name] for name in ("rounds", "goal", "budget_s"))
    asked = said["settings"].get("overrun", HARDLY) == HARDLY
    return {
        **{name: said[name] for name in (*Recorded.__struct_fields__, "baseline", "threads", "rigor")},
        "backends": [target.whole for target in said["targets"]],
        "python": sorted({f"{one.backend}@{one.device}={one.python}" for one in said["targets"] if one.python}),
        "ops": said["operations"],
        "math": said["precision"],
        "data": None if said["data"] == DIGITS else from_utf8(said["data"]),
        "budget_s": budget_s if asked else None,
        **({"rounds": rounds} if rounds else {"precision_goal": goal}),
    }


def _operations(asked: str | Sequence[str] | None, spec: GANSpec) -> tuple[str, ...]:
    if asked is None:
        return default_operations(spec)
    names = registry.split_list(asked)
    if not names:
        raise UsageError(f"no operations named (known: {', '.join(OPERATIONS)})")
    for name in names:
        if name != "all":
            operation(name, spec)  # raises where there is none, or the model has none
    return operations_of(spec) if "all" in names else tuple(dict.fromkeys(names))


def _check_count(settings: Settings) -> None:
    for name, valid in (("threads", (None, 1)), ("caches", ("warm",)), ("energy", (False,))):
        if (value := getattr(settings, name)) not in valid:
            raise UsageError(
                f"--count counts instructions of one thread: it cannot be given together with {name} {value}"
            )


def _check_cold(operations: Sequence[str], on_cpu: bool, threads: int, energy: bool) -> None:
    if ITERATION in operations:
        single = ", ".join(name for name in OPERATIONS if name != ITERATION)
        raise UsageError(
            f"--caches cold is for single operations, not for {ITERATION}: choose with --ops from {single}"
        )
    if energy:
        raise UsageError("--energy measures calls in a row, so it cannot be given together with --caches cold")
    if on_cpu and threads > 1:
        raise UsageError(
            f"--caches cold on a CPU is for one thread, not {threads}: waking the others for each call may take "
            "longer than the call; pass --threads 1"
        )


def reaching(care: Rigor, rounds: int | None, budget_s: float | None, precision_goal: float | None) -> Rigor:
    """Return ``care`` until ``rounds`` are done, ``budget_s`` spent or intervals within ± ``precision_goal``.

    None: for rounds, until one of the others is reached; else the value of ``care``. Raises ``UsageError``.
    A budget that was asked for is hardly overrun.
    """
    for name, value in (("rounds", rounds), ("budget_s", budget_s), ("precision_goal", precision_goal)):
        SETTINGS[name].check(value)
    if rounds and precision_goal is not None:
        raise UsageError(
            f"rounds {rounds} and precision {precision_goal:.6g} cannot be given together: choose one of them"
        )
    if budget_s:
        care = Rigor(care.case_s, care.warm_cap_s, budget_s, care.goal)
    return msgspec.structs.replace(care, rounds=rounds or 0, goal=precision_goal or care.goal)


def _baseline(text: str, targets: Sequence[Target], pythons: Mapping[str, str]) -> str:
    label = registry.parse_target(text, pythons).label
    labels = [target.label for target in targets]
    if label not in labels:
        raise UsageError(f"baseline '{text}' is not among the targets compared ({', '.join(labels)})")
    return label
