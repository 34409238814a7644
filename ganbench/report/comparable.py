"""What differs between two runs: what forbids to compare their times, and what may be the very question."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..comparison import Comparison
from ..records import RunHeader, WorkerRecord

STOPPING = ("budget_s", "goal", "rounds")  # settings that say when to stop, not how to time
HARDWARE = {
    "cpu": "processor",
    "logical_cpus": "logical processors",
    "virtual": "virtual machine",
    "pinned": "pinned to processors",
    "gpus": "GPUs",
}
NOT_RECORDED = "not recorded"


def header(run: Comparison) -> RunHeader:
    """Return the first record of a run."""
    first = run.records[0]
    assert isinstance(first, RunHeader)
    return first


def workers(run: Comparison) -> dict[str, WorkerRecord]:
    """Return the first worker of each target."""
    found: dict[str, WorkerRecord] = {}
    for record in run.records:
        if isinstance(record, WorkerRecord):
            found.setdefault(record.target, record)
    return found


def obstacles(a: Comparison, b: Comparison) -> list[str]:
    """Return what differs and must be the same, as ``dtype float32 / float64``; empty if times may be compared."""
    if found := list(_differing(_conditions(header(a)), _conditions(header(b)))):
        return found  # what follows from these need not be named
    there = workers(b)
    for target, worker in workers(a).items():
        if target in there:
            name = f"device of {target}"
            found += _differing({name: worker.device_name}, {name: there[target].device_name})
    return found + list(_differing(*map(_shapes, (a, b))))


def changes(a: Comparison, b: Comparison) -> list[str]:
    """Return what differs and may be why somebody compares: versions, commit, system, seed."""
    found = list(_differing(_code(header(a)), _code(header(b))))
    if header(a).dirty and header(b).dirty:
        found.append("changes of ganbench that were not committed / others, or the same")
    there = workers(b)
    software: dict[str, None] = {}  # each once, though a framework has several targets
    for target, worker in workers(a).items():
        if target in there:
            backend = target.partition("@")[0].partition(".")[0]
            software |= dict.fromkeys(_differing(_software(backend, worker), _software(backend, there[target])))
    return found + list(software)


def same_program(a: Comparison, b: Comparison, target: str) -> list[str]:
    """Return in what the software under ``target`` differs; empty where it is the same in both runs."""
    ours, theirs = workers(a).get(target), workers(b).get(target)
    if ours is None or theirs is None:
        return [f"{target} did not start in both"]
    return list(_differing(_software(target, ours), _software(target, theirs)))


def _conditions(run: RunHeader) -> dict[str, Any]:
    facts: dict[str, Any] = {"machine": run.machine}
    facts |= {name: run.environment.get(key, NOT_RECORDED) for key, name in HARDWARE.items()}
    facts |= {"threads": run.threads, "processors used": _used(run)}
    facts |= {"dtype": run.dtype, "precision": run.precision, "data": run.data}
    facts |= {f"model's {name}": value for name, value in msgspec.to_builtins(run.spec).items() if name != "name"}
    facts["preset"] = run.spec.name
    return facts | {name: value for name, value in run.settings.items() if name not in STOPPING}


def _shapes(run: Comparison) -> dict[str, Any]:
    """Return the shape of each operation, and its work: another version may have defined them otherwise."""
    rows = run.to_pandas().drop_duplicates("operation")
    facts = {f"shape of {name}": shape for name, shape in zip(rows["operation"], rows["shape"], strict=True)}
    return facts | {f"FLOP of {name}": flops for name, flops in zip(rows["operation"], rows["flops"], strict=True)}


def _used(run: RunHeader) -> Any:
    cpus = run.environment.get("cpus")
    return cpus[: run.threads] if isinstance(cpus, list) else NOT_RECORDED


def _code(run: RunHeader) -> dict[str, Any]:
    commit = f"{run.commit[:8]}{'+' * bool(run.dirty)}" if run.commit else NOT_RECORDED  # +: a changed tree
    facts: dict[str, Any] = {"ganbench": run.version, "commit": commit}
    facts |= {name: run.environment.get(key, NOT_RECORDED) for name, key in (("system", "os"), ("Python", "python"))}
    facts["tuning variables"] = run.environment.get("tuning", [])
    return facts | {"driver": run.environment.get("driver", ""), "seed": run.seed}


def _software(name: str, worker: WorkerRecord) -> dict[str, Any]:
    blas = sorted(" ".join(str(value) for value in pool.values()) for pool in worker.blas)
    return {
        name: worker.framework_version,
        f"libraries of {name}": "; ".join([*worker.libraries, *blas]),
        f"denormals of {name}": worker.denormals,
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``name a / b`` for what differs among the facts that both name."""
    for name, value in a.items():
        if name in b and value != b[name]:
            yield f"{name} {_shown(value)} / {_shown(b[name])}"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)
