"""The processes of the targets: their environment, their workers, and the fork servers."""

import contextlib
import os
from pathlib import Path

from .. import registry
from ..machine.environment import can_pin
from ..machine.processes import adopting
from ..registry import Target
from . import protocol
from .fork_server import ForkServer, can_fork
from .plan import Plan
from .process import Worker, child_environment


def launch(plan: Plan, target: Target, folder: str, server: ForkServer | None = None) -> Worker:
    """Start the process of one target; ``folder`` holds the images, its outputs, and what it compiles.

    It is forked by ``server`` if there is one. Raises ``BrokenBackendError`` for a plug-in that fails, and ``OSError``
    or ``ValueError`` for environment variables that the system refuses.
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
    return Worker(job, environment_of(plan, target, folder), plan.timeout_s, server)


def environment_of(plan: Plan, target: Target, folder: str) -> dict[str, str]:
    """Return the environment of a target's processes; raises as ``launch`` does."""
    cache = Path(folder) / "cache" / target.label.replace("@", "-").replace(":", "-")
    extra = registry.environment(target, plan.dtype, plan.precision, str(cache))
    return child_environment(extra, plan.threads)


def fork_servers(plan: Plan, folder: str, stack: contextlib.ExitStack) -> dict[str, ForkServer]:
    """Return the fork server of each target that may have one, by the target's label.

    The servers import while the oracle computes. ``stack`` ends them.
    """
    found = {}
    stack.enter_context(adopting())
    for target in plan.targets if plan.timed and plan.rigor.rounds != 1 else ():
        if can_fork(target):
            with contextlib.suppress(Exception):  # a plug-in may raise anything; its row will have the reason
                environment = environment_of(plan, target, folder)
                made = ForkServer(target.backend, list(plan.cpus) if can_pin() else [], environment)
                found[target.label] = stack.enter_context(made)
    return found
