"""An asv plug-in: plain ``asv run`` measures the installed code, asks no questions, and saves the result.

asv's own ``existing`` environment saves a result only if the commit is named, and saves a changed tree under the clean
commit. This environment records versions, the GPU and uncommitted changes in its name, and refuses every commit except
the checked-out one. It uses asv's internals: see pyproject.toml.
"""

import functools
import sys
from pathlib import Path
from typing import Any

from asv import util
from asv.console import log
from asv.environment import Environment
from asv.machine import Machine, MachineCollection

from . import gpus, registry
from .errors import GanbenchError
from .machine import environment
from .machine.lock import run_lock


def setup() -> None:
    """Name this machine by its hardware, so that asv neither asks nor uses the host's name."""
    name = environment.machine_name()
    Machine.hardcoded_machine_name = name
    try:
        MachineCollection.load(name)
    except util.UserError:
        facts = Machine.get_defaults() | {"machine": name, "cpu": environment.cpu_model()}
        MachineCollection.save(name, facts)


class CurrentEnvironment(Environment):  # type: ignore[misc]
    """The Python that runs asv, with what is installed in it."""

    tool_name = "current"

    def __init__(self, conf: Any, python: str, requirements: dict[str, str], tagged_env_vars: Any) -> None:
        # asv reads both while it constructs the environment's name.
        self._python, self._requirements = python, {**requirements, **_installed()}
        super().__init__(conf, python, self._requirements, tagged_env_vars)
        self._global_env_vars.pop("ASV_ENV_DIR", None)

    @property
    def installed_commit_hash(self) -> None:
        """No commit is ever installed here, so asv keeps asking ``install_project``."""
        return

    def check_presence(self) -> bool:
        return True

    def create(self) -> None:
        """There is nothing to create."""

    def _setup(self) -> None:
        """There is nothing to install."""

    def install_project(self, conf: Any, repo: Any, commit_hash: str | None = None) -> None:
        """Refuse any commit but the one that is checked out."""
        head = repo.get_hash_from_name("HEAD")
        if commit_hash not in (None, head):
            raise util.UserError(
                f"this environment measures the installed code, commit {head[:8]}, not {str(commit_hash)[:8]}; "
                "for other commits run asv with --config asv.virtualenv.json"
            )
        _lock()

    def run(self, args: list[str], **kwargs: Any) -> Any:
        log.debug(f"Running '{' '.join(args)}' in {self.name}")
        return util.check_output([sys.executable, *args], **kwargs)


@functools.cache
def _lock() -> Any:
    """Lock the machine until asv ends; asv calls this more than once."""
    held = run_lock(log.warning)
    held.__enter__()
    return held


def _installed() -> dict[str, str]:
    """Return what a result depends on: versions of frameworks, the GPU, and a hash of uncommitted changes."""
    found = {}
    for name in registry.names():
        try:
            probe = registry.about(name).probe
        except GanbenchError as error:
            log.warning(str(error))
            continue
        if probe.installed:
            found[name] = probe.version
    if names := gpus.names():
        found["gpu"] = names[0].replace(" ", "-")
    if changes := environment.tree_changes(Path.cwd(), ".", ":!results"):
        found["dirty"] = changes
    return found
