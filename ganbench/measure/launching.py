"""The processes of the targets: their environment, workers, and the templates that workers are forked from."""

import contextlib
import os
from pathlib import Path

from .. import registry
from ..machine.child_processes import adopting
from ..machine.environment import can_pin
from ..registry import Target
from . import protocol
from .fork_server import Template, can_fork
from .plan import Plan
from .process import Worker, child_environment


def launch(plan: Plan, target: Target, folder: str, template: Template | None = None) -> Worker:
    """Start the process of one target; ``folder`` holds the images, its outputs, and what it compiles.

    It is forked from ``template`` where there is one. Raises ``BrokenBackendError`` for a plug-in that fails, and
    whatever the system says of impossible variables.
    """
    job = protocol.Job(
        target=target,
        spec=plan.spec,
        dtype=plan.dtype,
        precision=plan.precision,
        caches=plan.caches,
        cpus=list(plan.cpus) if can_pin() else [],
        folder=folder,
        parent=os.getpid(),
    )
    return Worker(job, environment_of(plan, target, folder), plan.timeout_s, template)


def environment_of(plan: Plan, target: Target, folder: str) -> dict[str, str]:
    """Return the environment of a target's processes; raises as ``launch`` does."""
    cache = Path(folder) / "cache" / target.label.replace("@", "-").replace(":", "-")
    extra = registry.environment(target, plan.dtype, plan.precision, str(cache))
    return child_environment(extra, plan.threads)


def templates(plan: Plan, folder: str, stack: contextlib.ExitStack) -> dict[str, Template]:
    """Return, by label, a process from which workers of each target may be forked, where that may be done.

    They import while the oracle computes. ``stack`` ends them.
    """
    found = {}
    stack.enter_context(adopting())
    for target in plan.targets if plan.timed and plan.rigor.rounds != 1 else ():
        if can_fork(target):
            with contextlib.suppress(Exception):  # a plug-in may raise anything; its row will say what
                environment = environment_of(plan, target, folder)
                made = Template(target.backend, list(plan.cpus) if can_pin() else [], environment)
                found[target.label] = stack.enter_context(made)
    return found
