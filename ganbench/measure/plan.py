"""From what was asked for to a list of cases, or an error that says what is valid."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

import msgspec

from .. import registry
from ..errors import UsageError, unknown
from ..gan import GANSpec
from ..machine.environment import usable_cpus
from ..operations import DEFAULT_OPERATIONS, OPERATIONS
from ..operations.products import FLOOR
from ..precision import precision_of
from ..registry import Target, library_of
from ..results.records import CACHES, Caches

DEFAULT_TIMEOUT_S = 120.0
LARGEST_INTEGER = 2**63 - 1  # of the messages to a worker


class Rigor(msgspec.Struct, frozen=True):
    """How much care a run takes; times in seconds, ``goal`` is the half-width of an interval.

    ``case_s`` goes to the visits of a case in one round, until the run's own noise says how many are worth it.
    """

    case_s: float
    warm_cap_s: float
    budget_s: float
    goal: float
    rounds: int = 0  # 0: until the goal or the budget is reached


RIGORS = {
    "quick": Rigor(case_s=0.4, warm_cap_s=0.1, budget_s=85.0, goal=0.03),
    "full": Rigor(case_s=0.5, warm_cap_s=1.0, budget_s=300.0, goal=0.01),
}


class Case(msgspec.Struct, frozen=True):
    """One thing to measure; ``copy`` is the second copy of the baseline, the A/A control."""

    operation: str
    target: Target
    copy: bool = False


class Plan(msgspec.Struct, frozen=True):
    """One run: the model, and what is compared on it, how."""

    spec: GANSpec
    operations: tuple[str, ...]
    targets: tuple[Target, ...]
    baseline: str
    dtype: str
    precision: str
    cpus: tuple[int, ...]
    data: Path | None
    seed: int
    rigor_name: str
    rigor: Rigor
    timeout_s: float
    timed: bool = True
    control: bool = False  # the A/A control even where there is nothing to compare
    caches: Caches = "warm"
    energy: bool = False  # a stretch of each case in each round, and one in which nothing is done
    ceilings: bool = True  # hold the rows against what the hardware could do at best
    fresh_ceilings: bool = False  # measure that anew, some seconds, even where an earlier run has kept it

    @property
    def threads(self) -> int:
        """How many threads every framework gets."""
        return len(self.cpus)

    @property
    def members(self) -> list[tuple[Target, bool]]:
        """Every worker of a round: each target, and the control copy of the baseline."""
        members = [(target, False) for target in self.targets]
        if self.timed and (self.control or len(self.targets) > 1):
            members += [(target, True) for target in self.targets if target.label == self.baseline]
        return members

    def names(self, target: Target, copy: bool) -> tuple[str, ...]:
        """Return the operations that a member is timed on: those asked for, and the floor where it is due.

        The matrix products of an iteration are timed once for each library on each device.
        """
        asked = self.operations
        if copy or not self.timed or "gan_iteration" not in asked or FLOOR in asked:
            return asked
        return (*asked, FLOOR) if self.speaks_for_library(target, copy) else asked

    def speaks_for_library(self, target: Target, copy: bool) -> bool:
        """Whether ceilings and floor of a library on a device are measured by this member."""
        return not copy and target == library_of(target, self.targets)

    @property
    def timed_operations(self) -> tuple[str, ...]:
        """Every operation of a round, in the order in which they are timed."""
        return tuple(dict.fromkeys(name for member in self.members for name in self.names(*member)))

    @property
    def cases(self) -> list[Case]:
        """Everything that was asked for, as it is measured in one round."""
        return [Case(name, *member) for name in self.operations for member in self.members]


def make_plan(
    spec: GANSpec,
    *,
    backends: str | Sequence[str],
    devices: str | Sequence[str] = (),
    ops: str | Sequence[str] = DEFAULT_OPERATIONS,
    dtype: str = "float32",
    math: str = "",
    threads: int | None = None,
    data: Path | None = None,
    baseline: str | None = None,
    rigor: str = "quick",
    rounds: int | None = None,
    budget_s: float | None = None,
    precision_goal: float | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    seed: int = 0,
    timed: bool = True,
    caches: Caches = "warm",
    energy: bool = False,
    ceilings: bool = True,
    fresh_ceilings: bool = False,
) -> Plan:
    """Return a plan whose every name exists; raises ``UsageError`` naming what is valid.

    ``precision_goal`` is the half-width that every ratio's 95 % interval must reach, as a fraction; it has
    nothing to do with the precision of the arithmetic, which ``dtype`` and ``math`` say. ``budget_s`` outranks it.
    Either is the rigor's unless given.
    """
    targets = registry.parse_targets(registry.split_list(backends), registry.split_list(devices))
    operations = registry.split_list(ops)
    for name in operations:
        if name not in OPERATIONS:
            raise unknown("operation", name, OPERATIONS)
    if not operations:
        raise UsageError(f"no operations named (known: {', '.join(OPERATIONS)})")
    precision = precision_of(dtype, math)
    if rigor not in RIGORS:
        raise unknown("rigor", rigor, RIGORS)
    if caches not in CACHES:
        raise unknown("caches", caches, CACHES)
    cpus = usable_cpus()
    if threads is not None and not 1 <= threads <= len(cpus):
        raise UsageError(f"threads {threads} is not valid: this machine offers 1 to {len(cpus)}")
    if caches == "cold":
        _check_cold(operations, any(target.device == "cpu" for target in targets), threads or len(cpus), energy)
    _check_count("seed", seed)
    _check_seconds("timeout", timeout_s)
    return Plan(
        spec=spec,
        operations=tuple(dict.fromkeys(operations)),
        targets=tuple(targets),
        baseline=_baseline(baseline, targets),
        dtype=dtype,
        precision=precision,
        cpus=tuple(cpus[: threads or len(cpus)]),
        data=data,
        seed=seed,
        rigor_name=rigor,
        rigor=reaching(RIGORS[rigor], rounds, budget_s, precision_goal),
        timeout_s=timeout_s,
        timed=timed,
        caches=caches,
        energy=energy,
        ceilings=ceilings,
        fresh_ceilings=fresh_ceilings,
    )


def _check_cold(operations: Sequence[str], on_cpu: bool, threads: int, energy: bool) -> None:
    if "gan_iteration" in operations:
        single = ", ".join(name for name in OPERATIONS if name != "gan_iteration")
        raise UsageError(
            f"--caches cold is for single operations, not for gan_iteration: choose with --ops from {single}"
        )
    if energy:
        raise UsageError("--energy is of calls in a row, so it cannot be given together with --caches cold")
    if on_cpu and threads > 1:
        raise UsageError(
            f"--caches cold on a CPU is for one thread, not {threads}: to wake the others for each call may take "
            "longer than the call; pass --threads 1"
        )


def reaching(care: Rigor, rounds: int | None, budget_s: float | None, precision_goal: float | None) -> Rigor:
    """Return ``care`` until ``rounds`` are done, ``budget_s`` spent or intervals within ± ``precision_goal``.

    None: for rounds, until one of the others is reached; else the value of ``care``. Raises ``UsageError``.
    """
    if rounds is not None:
        _check_count("rounds", rounds, 1)
    if budget_s is not None:
        _check_seconds("budget", budget_s)
    if precision_goal is not None and not 0 < precision_goal < 1:
        raise UsageError(
            f"precision {precision_goal:.6g} is not valid: more than 0 and less than 1, such as 0.01 or 1%"
        )
    if rounds and precision_goal is not None:
        raise UsageError(
            f"rounds {rounds} and precision {precision_goal:.6g} cannot be given together: choose one of them"
        )
    return msgspec.structs.replace(
        care, rounds=rounds or 0, budget_s=budget_s or care.budget_s, goal=precision_goal or care.goal
    )


def _check_count(name: str, value: int, least: int = 0) -> None:
    if value < least:
        raise UsageError(f"{name} {value} is not valid: at least {least}")
    if value > LARGEST_INTEGER:
        raise UsageError(f"{name} {value} is not valid: at most {LARGEST_INTEGER}")


def _check_seconds(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise UsageError(f"{name} {value:g} is not valid: a positive number of seconds")


def _baseline(text: str | None, targets: Sequence[Target]) -> str:
    """Return the label of the baseline: the first target, unless another is named."""
    if text is None:
        return targets[0].label
    label = registry.parse_target(text).label
    labels = [target.label for target in targets]
    if label not in labels:
        raise UsageError(f"baseline '{text}' is not among the targets compared ({', '.join(labels)})")
    return label
