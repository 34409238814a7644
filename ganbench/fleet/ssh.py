"""Machines over SSH by dask's own cluster: a worker on each host, a scheduler on the first.

It gives up where one host fails, and does not tell why; so every host is tried before.
"""

import asyncio
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import asyncssh
from distributed import Security, SSHCluster

OPTIONS = {"keepalive_interval": 15, "connect_timeout": 20}
WORKER = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}


def ssh_cluster(hosts: Sequence[str], python: str | None, page: dict[str, Any], lost: dict[str, str]) -> Any:
    """Return a cluster on the hosts that can be had; ``lost`` takes up why the others cannot.

    Raises ``OSError`` where none can.
    """
    interpreter = shlex.quote(python or sys.executable)
    reasons = asyncio.run(_reasons(hosts, interpreter))
    lost |= {host: f"{why} (try: ssh {host})" for host, why in reasons.items() if why}
    usable = [host for host in hosts if host not in lost]
    if not usable:
        raise OSError("; ".join(f"{host}: {why}" for host, why in lost.items()))
    each = [usable[0], *usable]  # the first has the scheduler
    addresses, options = zip(*map(_destination, each), strict=True)
    return SSHCluster(
        list(addresses), connect_options=list(options), remote_python=interpreter, worker_options=WORKER,
        scheduler_options={"protocol": "tls://", **page}, security=Security(),
    )  # fmt: skip


def _destination(host: str) -> tuple[str, dict[str, Any]]:
    """Return the address in ``USER@HOST`` or ``HOST``, and how to connect to it."""
    user, _, address = host.rpartition("@")
    return address, OPTIONS | ({"username": user} if user else {})


async def _reasons(hosts: Sequence[str], python: str) -> dict[str, str]:
    return dict(zip(hosts, await asyncio.gather(*(_reason(host, python) for host in hosts)), strict=True))


async def _reason(host: str, python: str) -> str:
    """Return why a host cannot be had; '' where it can."""
    address, options = _destination(host)
    try:
        async with asyncssh.connect(address, **options) as connection:
            tried = await connection.run(f"{python} -c 'import distributed, ganbench'")
    except (OSError, asyncssh.Error) as error:
        return " ".join(str(error).split()) or type(error).__name__
    if tried.exit_status == 0:
        return ""
    said = [line for line in str(tried.stderr).splitlines() if line.strip()]
    return said[-1].strip() if said else f"{python} ended with {tried.exit_status}, without a word"
