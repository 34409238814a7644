"""Under which conditions each run was measured, so that a reader can judge whether it was fair."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..results.case import machine_names
from ..results.differences import changes, shown
from ..results.run import Run
from .escape import visible

NOT_THE_MACHINE = ("commit", "seed")  # what a history is about, and what may differ from run to run


class Changed(NamedTuple):
    """What had changed on a machine since the run before."""

    machine: str
    timestamp: str
    change: str


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what must be known of a run, each with its name: machine, code, precision, versions, flags."""
    header, there = run.header, run.header.environment
    found: list[tuple[str, Any]] = [
        ("measured", header.timestamp),
        ("machine", f"{header.machine}: {there.get('cpu', '')}, {there.get('logical_cpus', '?')} processors"),
        ("GPUs", ", ".join(map(str, there.get("gpus") or [])) or "none"),
        ("system", f"{there.get('os', '')}, Python {there.get('python', '')}"),
        ("driver", there.get("driver") or "none"),
        ("virtual machine", "yes" if there.get("virtual") else "no"),
        ("model", f"{header.spec.name}: {header.spec.describe()}"),
        ("data", header.data),
        ("dtype, precision", f"{header.dtype}, {header.precision}"),
        ("caches", header.caches),
        ("threads", header.threads),
        ("processors", there.get("cpus") if there.get("pinned") else "not pinned"),
        ("ganbench", f"{header.version}, commit {header.commit or 'not recorded'}"),
        ("uncommitted changes", {True: "yes", False: "no", None: ""}[header.dirty]),
        ("command", " ".join(header.command)),
        ("rigor", f"{header.rigor}, {run.rounds} rounds, engine {header.settings.get('engine', '1')}"),
        ("ended", str(run.ended)),
        ("environment variables", there.get("tuning") or "none that changes a result"),
        ("not controlled", there.get("uncontrolled") or "nothing known"),
    ]
    return [(visible(name), visible(shown(value))) for name, value in found]


def libraries(run: Run) -> list[tuple[str, str]]:
    """Return of each target which builds of which libraries it used."""
    found = []
    for target, worker in run.workers.items():
        libraries = "; ".join([*worker.libraries, *(" ".join(map(str, pool.values())) for pool in worker.blas)])
        found.append(
            (target, f"{worker.framework_version} on {worker.device_name}, denormals {worker.denormals}, {libraries}")
        )
    return [(visible(name), visible(shown(value))) for name, value in found]


def changed(runs: Sequence[Run]) -> list[Changed]:
    """Return where a machine's software or settings differ from those of its run before."""
    found, before = [], dict[str, Run]()
    for run in sorted(runs, key=lambda run: run.header.timestamp):
        header = run.header
        machine = machine_names(header)[-1]
        if machine in before:
            told = [one for one in changes(before[machine], run) if one.name not in NOT_THE_MACHINE]
            words = "; ".join(f"{one.name}: {shown(one.a)}, then {shown(one.b)}" for one in told)
            if words:
                found.append(Changed(visible(header.machine), header.timestamp, visible(words)))
        before[machine] = run
    return found
