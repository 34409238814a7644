"""Machines over SSH: a scheduler on the first host, and a worker on each; a host that cannot be had is told."""

import shlex
import sys
from collections.abc import Sequence
from json import dumps
from typing import Any

import asyncssh
import dask
from distributed import Security
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface, SpecCluster

SSH = {"keepalive_interval": 15, "connect_timeout": 20}
Settings = dict[str, Any]  # of dask
KEPT = 20  # lines of what a host says before it is ready


class Started(ProcessInterface):
    """A process of dask on a host; dask's own class of this kind does not tell why it did not start."""

    def __init__(self, host: str, python: str, settings: Settings, spec: dict[str, Any], ready: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._host, self._python, self._settings, self._spec, self._ready = host, python, settings, spec, ready
        self._scheduler: tuple[str, ...] = ()
        self._connection: asyncssh.SSHClientConnection | None = None

    async def start(self) -> None:
        """Start it; raises ``OSError`` or an error of asyncssh saying why it does not."""
        self._connection = await asyncssh.connect(self._host, **SSH)
        inherited = dask.config.serialize(self._settings)
        command = [
            "env", f"DASK_INTERNAL_INHERIT_CONFIG={inherited}", self._python, "-m", "distributed.cli.dask_spec",
            *self._scheduler, "--spec", dumps(self._spec),
        ]  # fmt: skip
        process = await self._connection.create_process(shlex.join(command), stdin=asyncssh.DEVNULL)
        said: list[str] = []
        async for line in process.stderr:
            said = [*said, line.strip()][-KEPT:]
            if self._ready in line:
                self.address = line.split(self._ready)[1].strip()
                break
        else:
            raise OSError(next((one for one in reversed(said) if one), "it ended without a word"))
        await process.redirect(stdout=asyncssh.DEVNULL, stderr=asyncssh.DEVNULL)
        await super().start()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Let go of the host: the process ends when its scheduler does."""
        if self._connection is not None:
            self._connection.close()
        await super().close()  # type: ignore[no-untyped-call]


class Worker(Started):
    """A worker on a host. Where it does not start, the cluster goes on without it."""

    def __init__(
        self, scheduler: str, host: str, python: str, settings: Settings, lost: dict[str, str], name: object = None
    ) -> None:
        options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
        spec = {"0": {"cls": "distributed.Nanny", "opts": options}}
        super().__init__(host, python, settings, spec, "Start worker at:")
        self._scheduler, self._lost, self.name = (scheduler,), lost, name

    async def start(self) -> None:
        """Start it, or note why not."""
        try:
            await super().start()
        except (OSError, asyncssh.Error) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            self._lost[self._host] = f"{why} (try: ssh {self._host})"
            self.status = Status.running  # for the cluster, which would end with the first that is not


def ssh_cluster(
    hosts: Sequence[str], python: str | None, settings: Settings, page: dict[str, Any], lost: dict[str, str]
) -> SpecCluster:
    """Return a cluster with a worker on every host; ``lost`` takes up why some cannot be had.

    Raises ``RuntimeError`` where the first cannot be had: it has the scheduler.
    """
    shared = {"python": python or sys.executable, "settings": settings}
    spec = {"cls": "distributed.Scheduler", "opts": {"protocol": "tls://", **page}}
    workers = [{"cls": Worker, "options": {"host": host, "lost": lost, **shared}} for host in hosts]
    scheduler = {"cls": Started, "options": {"host": hosts[0], "spec": spec, "ready": "Scheduler at:", **shared}}
    return SpecCluster(dict(enumerate(workers)), scheduler, name="ssh", security=Security())
