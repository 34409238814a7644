"""What differs between two runs: what forbids comparing or mixing their times, and what may be the question itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ..settings import SETTINGS
from .case import named_data, same_data
from .records import RunHeader, WorkerRecord
from .run import Run

STOPPING = ("budget_s", "case_s", "goal", "overrun", "rounds")  # settings that say when to stop, not how to time
HARDWARE = {
    "cpu": "processor",
    "logical_cpus": "logical processors",
    "virtual": "virtual machine",
    "pinned": "pinned to processors",
    "quota": "processor quota",
    "gpus": "GPUs",
}
# What must be as it was for a run to go on; load and free memory may differ, as they do from round to round.
FIXED = ("cpu", "cpus", "logical_cpus", "quota", "gpus", "driver", "os", "python", "tuning", "uncontrolled")
NOT_RECORDED = None


class Difference(NamedTuple):
    """One fact that is ``a`` in one run and ``b`` in another."""

    name: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.name} {shown(self.a)} / {shown(self.b)}"


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Return what differs among the facts that both name."""
    return [Difference(name, value, b[name]) for name, value in a.items() if name in b and value != b[name]]


def shown(value: Any) -> str:
    """Return one side of a difference as text."""
    if value is NOT_RECORDED:
        return "not recorded"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def obstacles(a: Run, b: Run) -> list[Difference]:
    """Return what differs and must be the same; empty if the times of both runs may be compared."""
    found = differing(_conditions(a.header), _conditions(b.header))
    if not same_data(a.header, b.header):
        found.append(Difference("data", named_data(a.header), named_data(b.header)))
    if found:
        return found  # what follows from these need not be named
    devices = ({f"device of {target}": one.device_name for target, one in run.workers.items()} for run in (a, b))
    return differing(*devices) + differing(_shapes(a), _shapes(b))


def changes(a: Run, b: Run) -> list[Difference]:
    """Return what differs and may be why somebody compares: versions, commit, system, seed."""
    found = differing(_code(a.header), _code(b.header))
    if a.header.dirty and b.header.dirty and (not a.header.changes or a.header.changes != b.header.changes):
        found.append(Difference("uncommitted changes to ganbench", "yes", "yes, perhaps others"))
    for target, worker in a.workers.items():
        if target in b.workers:
            backend = target.partition("@")[0].partition(".")[0]
            theirs = differing(_software(backend, worker), _software(backend, b.workers[target]))
            found += [one for one in theirs if one not in found]  # each once, though a framework has several targets
    return found


def same_program(a: Run, b: Run, target: str) -> list[Difference]:
    """Return in what the software under ``target`` differs; empty where it is the same in both runs."""
    ours, theirs = a.workers.get(target), b.workers.get(target)
    if ours is None or theirs is None:
        return [Difference(f"start of {target}", *("failed" if one is None else "worked" for one in (ours, theirs)))]
    return differing(_software(target, ours), _software(target, theirs))


def since_it_began(then: RunHeader, now: RunHeader) -> list[Difference]:
    """Return what forbids a run that began as ``then`` to go on as ``now``."""
    return differing(_fixed(then), _fixed(now))


def _fixed(run: RunHeader) -> dict[str, Any]:
    facts: dict[str, Any] = {name: run.environment.get(name, NOT_RECORDED) for name in FIXED}
    facts |= {
        f"version of {name}": run.versions.get(name, NOT_RECORDED) for name in {one.library: 0 for one in run.targets}
    }
    facts |= {"ganbench": run.version, "commit": run.commit, "uncommitted changes": run.changes}
    return facts | {"data": run.data_digest}


def _conditions(run: RunHeader) -> dict[str, Any]:
    facts: dict[str, Any] = {"machine": run.machine}
    facts |= {name: run.environment.get(key, NOT_RECORDED) for key, name in HARDWARE.items()}
    cpus = run.environment.get("cpus")
    facts["processors used"] = cpus[: run.threads] if isinstance(cpus, list) else NOT_RECORDED
    facts |= _settings(run, "refused")
    facts |= {f"model's {name}": value for name, value in msgspec.to_builtins(run.spec).items() if name != "name"}
    facts["preset"] = run.spec.name
    facts["Valgrind"] = run.versions.get("valgrind", NOT_RECORDED)  # where instructions were counted
    return facts | {name: value for name, value in run.settings.items() if name not in STOPPING}


def _shapes(run: Run) -> dict[str, Any]:
    """Return the shape of each operation, and its work: another version may have defined them otherwise."""
    facts: dict[str, Any] = {}
    for one in run.measurements:
        facts.setdefault(f"shape of {one.operation}", "x".join(map(str, one.shape)))
        facts.setdefault(f"FLOP of {one.operation}", one.flops)
    return facts


def _code(run: RunHeader) -> dict[str, Any]:
    commit = f"{run.commit[:8]}{'+' * bool(run.dirty)}" if run.commit else NOT_RECORDED  # +: a changed tree
    facts: dict[str, Any] = {"ganbench": run.version, "commit": commit}
    facts |= {name: run.environment.get(key, NOT_RECORDED) for name, key in (("system", "os"), ("Python", "python"))}
    facts["tuning variables"] = run.environment.get("tuning", [])
    return facts | {"driver": run.environment.get("driver", "")} | _settings(run, "told")


def _settings(run: RunHeader, differing: str) -> dict[str, Any]:
    """Return the settings of a run that are declared so, but model and data, whose content counts."""
    declared = [one.recorded for one in SETTINGS.values() if one.differing == differing]
    return {name: getattr(run, name) for name in declared if name not in ("spec", "data")}


def _software(name: str, worker: WorkerRecord) -> dict[str, Any]:
    blas = sorted(" ".join(str(value) for value in pool.values()) for pool in worker.blas)
    return {
        name: worker.framework_version,
        f"libraries of {name}": "; ".join([*worker.libraries, *blas]),
        f"denormals of {name}": worker.denormals,
    }
