"""Where the machines of a fleet come from: workers here, hosts over SSH, SLURM, or somebody's own dask cluster.

A task of dask is a pickle: whoever can talk to a scheduler or a worker can run any code there: on loopback, every
user of that machine. So dask is used with TLS alone, with certificates that the user names, unless the user says that
all others are trusted. Workers here and hosts over SSH need no dask: nothing listens there.
"""

import contextlib
import ipaddress
import logging
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import UsageError, require
from ..launch import APART, command
from .pipes import PipeClient, Way
from .plan import FleetPlan
from .ssh import ways

LOOPBACK = "127.0.0.1"
WORKERS = 3  # of ``local``
KINDS = "local, local:N, ssh, ssh:HOST,HOST, slurm, dask:tls://HOST:PORT"
VALID = {  # what may follow each kind
    "local": r"([1-9][0-9]{0,2})?",
    "ssh": r".*",  # see ``ssh.place_of``
    "slurm": "",
    "dask": r"(tcp|tls)://([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}",
}
CONNECT_S = 30
LOGS = "slurm"  # below the folder of the fleet
# Less work beside what is timed: no profiler, no dashboard, and clocks that tick rarely.
SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "1h",  # it is told as a fault, and a machine that is measured is busy
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    "distributed.scheduler.allowed-failures": 3,
    "distributed.worker.daemon": True,
}


class Tls(NamedTuple):
    """The files of TLS that the user has named: of who may sign, of us, and our key; and whether none is needed."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    all_trusted: bool = False  # all users of these machines

    @property
    def complete(self) -> bool:
        """Whether all three are named."""
        return None not in self[:3]


def check(kind: str, tls: Tls) -> None:
    """Raise ``UsageError`` for a cluster that cannot be, or that would be open to others.

    Raises ``UnavailableError`` where dask is needed, and is not installed.
    """
    if sys.platform == "win32":
        raise UsageError("a fleet can be started only on Linux or macOS; on Windows use 'ganbench results import'")
    name, _, rest = kind.partition(":")
    for path in filter(None, tls[:3]):
        if not path.is_file():
            raise UsageError(f"cannot read the TLS file {path}: there is no such file")
    try:
        address = urlsplit(rest if name == "dask" else "")
        valid = name in VALID and re.fullmatch(VALID[name], rest) and address.port != 0
    except ValueError:  # no port, or no address of IPv6
        valid = False
    if not valid:
        raise UsageError(f"cluster {kind!r} is not valid (known: {KINDS})")
    if name in ("local", "ssh"):
        return
    here = _is_loopback(address.hostname or "")
    if address.scheme == "tcp" and not (tls.all_trusted and here):
        trust = ", or say --trust-all-users if you trust every user of this machine" * here
        raise UsageError(
            f"refused: {rest} has no TLS, so whoever reaches its port, such as another user of this machine, can run "
            f"code as you; start scheduler and workers with TLS, and name dask:tls://{address.netloc} with --tls-ca, "
            f"--tls-cert and --tls-key{trust}"
        )
    if address.scheme != "tcp" and not tls.complete:
        raise UsageError(
            f"refused: --cluster {kind} opens ports, and whoever reaches a port of dask can run code as you; name the "
            "files of TLS with --tls-ca, --tls-cert and --tls-key (docs/fleet-security.md says how to make them)"
        )
    require("fleet", f"--cluster {kind}", "distributed", "dask_jobqueue")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Opened(NamedTuple):
    """A cluster that runs."""

    client: Any  # a ``DataClient`` or a ``PipeClient``: what they are asked is the same
    coming: Callable[[], int]  # how many workers there are or will be
    lost: dict[str, str]  # machines that cannot be had, and why
    rented: bool  # whether machines may have to be waited for, and are given back as soon as nothing is left for them


@contextlib.contextmanager
def opened(kind: str, tls: Tls, plan: FleetPlan, folder: Path, dashboard: str | None = None) -> Iterator[Opened]:
    """Yield a cluster, which ends with this unless it is somebody's own; what jobs of SLURM say goes into ``folder``.

    ``dashboard`` is an address for the scheduler's page, such as ``127.0.0.1:8787``; None: there is none.
    Raises ``UsageError`` where nobody answers.
    """
    check(kind, tls)
    name, _, rest = kind.partition(":")
    lost: dict[str, str] = {}
    if name in ("local", "ssh"):
        if dashboard is not None:
            raise UsageError(f"--dashboard cannot be given with --cluster {kind}, which has no scheduler of dask")
        started = _ways(name, rest, plan)
        with PipeClient(started, lost) as own:
            yield Opened(own, lambda: len(started) - len(lost), lost, rented=False)
        return
    import dask
    from distributed import Security

    from .client import DataClient

    for logger in ["tornado", "asyncio", *logging.root.manager.loggerDict]:  # what matters is said by us, in words
        if logger.partition(".")[0] in ("distributed", "tornado", "asyncio"):  # dask gives many of its own a level
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    settings = SETTINGS | _encryption(tls)
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        try:
            coming: Callable[[], int] = lambda: 1  # noqa: E731
            cluster: Any = rest
            if name == "slurm":
                from .slurm import slurm_cluster

                # Without an address all that reach this machine would be served, even where nothing is shown.
                page = {"dashboard": dashboard is not None, "dashboard_address": dashboard or f"{LOOPBACK}:0"}
                cluster, coming = slurm_cluster(plan.slurm, settings, page, folder / LOGS, lost)
                stack.enter_context(cluster)
            else:
                _knock(rest)
            client = DataClient(cluster, security=Security(), timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).removeprefix("Cluster failed to start: ").split())[:500]
            raise UsageError(f"cannot reach the cluster '{kind}': {why or type(error).__name__}") from error
        yield Opened(stack.enter_context(client), coming, lost, kind == "slurm")


def _knock(address: str) -> None:
    """Raise ``OSError`` where no scheduler can answer: dask itself would go on trying."""
    from distributed import Security

    place = urlsplit(address)
    try:
        with socket.create_connection((place.hostname, place.port), CONNECT_S) as door:
            if place.scheme == "tls":
                Security().get_connection_args("client")["ssl_context"].wrap_socket(door).close()
    except ConnectionRefusedError as error:
        raise OSError("nobody listens there: is the scheduler running?") from error
    except ssl.SSLError as error:
        raise OSError(f"its TLS does not fit the files of --tls-ca, --tls-cert, --tls-key: {error.reason}") from error


def _encryption(tls: Tls) -> dict[str, Any]:
    """Return dask's settings of TLS, from which every process of a cluster takes them."""
    if not tls.complete:
        return {}
    ca, cert, key = (str(path.absolute()) for path in tls[:3] if path is not None)
    own = {f"distributed.comm.tls.{role}": {"cert": cert, "key": key} for role in ("client", "scheduler", "worker")}
    return {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": ca, **own}


def _ways(name: str, rest: str, plan: FleetPlan) -> dict[str, Way]:
    """Return how each worker of ``local`` or ``ssh`` is started."""
    if name == "local":
        own = Way(["sh", "-c", f'{APART}exec "$@"', "sh", *command("ganbench.fleet.serve")])
        return {f"worker {number}": own for number in range(1, int(rest or WORKERS) + 1)}
    names = list(dict.fromkeys(filter(None, map(str.strip, rest.split(","))))) or list(plan.ssh.hosts)
    if not names:
        raise UsageError("--cluster ssh names no host: say ssh:HOST,HOST, or give them in the plan, under [ssh.hosts]")
    return ways(names, plan.ssh)
