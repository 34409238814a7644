"""An asv plug-in: plain ``asv run`` measures the installed code, asks no questions, and saves the result.

asv's own ``existing`` environment saves a result only if the commit is named, and saves a changed tree under the clean
commit. This environment records versions, the GPU and uncommitted changes in its name, and refuses every commit except
the checked-out one. It uses asv's internals: see pyproject.toml.
"""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

from asv import util
from asv.console import log
from asv.environment import Environment
from asv.machine import Machine, MachineCollection

from . import gpus, registry
from .errors import GanbenchError
from .launch import program
from .machine import environment
from .machine.lock import run_lock
from .registry.interpreters import require


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
    """The Python that runs asv, or that of ``asv run --environment current:PYTHON``, with what is installed in it."""

    tool_name = "current"

    def __init__(self, conf: Any, python: str, requirements: dict[str, str], tagged_env_vars: Any) -> None:
        other = python if Path(python).name != python else ""  # a path; asv.conf.json's own is a version
        self._executable = program(other) if other else sys.executable
        # asv reads both while it constructs the environment's name.
        self._python = _version_of(other) if other else python
        self._requirements = {**requirements, **_installed(other)}
        super().__init__(conf, self._python, self._requirements, tagged_env_vars)
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
        return util.check_output([self._executable, *args], **kwargs)


@functools.cache
def _lock() -> Any:
    """Lock the machine until asv ends; asv calls this more than once."""
    held = run_lock(log.warning)
    held.__enter__()
    return held


def _version_of(python: str) -> str:
    """Return the version of another Python as asv writes it, ``3.11``; raises asv's error for what that one lacks."""
    try:
        version = require(python)
    except GanbenchError as error:
        raise util.UserError(str(error)) from error
    if subprocess.run([program(python), "-c", "import asv_runner"], capture_output=True).returncode:
        raise util.UserError(f"{python} lacks asv_runner: {python} -m pip install asv_runner")
    return version.rpartition(".")[0]


def _installed(python: str) -> dict[str, str]:
    """Return what a result depends on: versions of frameworks, the GPU, and a hash of uncommitted changes.

    ``python`` is another Python that has the frameworks; '': this one.
    """
    found = {}
    for name in registry.names():
        try:
            probe = registry.about(name, python).probe
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
