"""Where the machines of a fleet come from: workers here, hosts over SSH, SLURM, or somebody's own dask cluster.

A task of dask is a pickle: whoever can talk to a scheduler or a worker can run any code there. So all stay on loopback,
or speak TLS with certificates that the user names.
"""

import contextlib
import importlib.util
import ipaddress
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import UnavailableError, UsageError
from .plan import FleetPlan

if TYPE_CHECKING:
    from .client import DataClient

LOOPBACK = "127.0.0.1"
WORKERS = 3  # of ``local``
KINDS = "local, local:N, ssh:HOST,HOST, slurm, dask:tls://HOST:PORT (or dask:tcp://127.0.0.1:PORT)"
HOST = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
VALID = {  # what may follow each kind
    "local": r"([1-9]\d{0,2})?",
    "ssh": f"{HOST}(,{HOST})*",
    "slurm": "",
    "dask": r"(tcp|tls)://([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}",
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
    """The files of TLS that the user has named: of who may sign, of us, and our key."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether all three are named."""
        return None not in self


def check_installed() -> None:
    """Raise ``UnavailableError`` where the engine is not installed, ``UsageError`` where it was never tried."""
    if sys.platform == "win32":
        raise UsageError("a fleet is conducted from Linux or macOS; on Windows use 'ganbench results import'")
    missing = [name for name in ("distributed", "dask_jobqueue") if importlib.util.find_spec(name) is None]
    if missing:
        raise UnavailableError(f'a fleet needs {" and ".join(missing)}: pip install "ganbench[fleet]"')


def check(kind: str, tls: Tls) -> None:
    """Raise ``UsageError`` for a cluster that cannot be, or that would be open to everybody."""
    name, _, rest = kind.partition(":")
    for path in filter(None, tls):
        if not path.is_file():
            raise UsageError(f"cannot read the TLS file {path}: there is no such file")
    if name not in VALID or not re.fullmatch(VALID[name], rest):
        raise UsageError(f"cluster '{kind}' is not valid (known: {KINDS})")
    address = urlsplit(rest)
    if name == "local" or (address.scheme == "tcp" and _is_loopback(address.hostname or "")):
        return
    if address.scheme == "tcp":
        raise UsageError(
            f"refused: {rest} is not this machine and has no TLS, so anybody between could run code on every "
            f"worker; start scheduler and workers with TLS, and name dask:tls://{address.netloc} and "
            "--tls-ca, --tls-cert and --tls-key"
        )
    if not tls.complete:
        raise UsageError(
            f"refused: --cluster {kind} leaves this machine, and a task of dask is code that any sender can have run; "
            "name the files of TLS with --tls-ca, --tls-cert and --tls-key (docs/fleet.md says how to make them)"
        )


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Opened(NamedTuple):
    """A cluster that runs."""

    client: "DataClient"
    coming: Callable[[], int]  # how many workers there are or will be
    lost: dict[str, str]  # machines that cannot be had, and why
    rented: bool  # whether machines may have to be waited for, and are given back as soon as nothing is left for them


@contextlib.contextmanager
def opened(kind: str, tls: Tls, plan: FleetPlan, folder: Path, dashboard: str | None = None) -> Iterator[Opened]:
    """Yield a cluster, which ends with this unless it is somebody's own; what SLURM's jobs say goes into ``folder``.

    ``dashboard`` is an address for the scheduler's page, such as ``127.0.0.1:8787``; None: there is none.
    Raises ``UsageError`` where nobody answers.
    """
    check(kind, tls)
    import dask
    from distributed import Security

    from .client import DataClient

    for name in ("distributed", "tornado", "asyncio", "asyncssh"):  # what matters of it is said by us, in words
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    settings = SETTINGS | _encryption(tls)
    if kind.startswith("ssh"):  # whoever started it may be gone without a word
        settings["distributed.scheduler.idle-timeout"] = "10 minutes"
    lost: dict[str, str] = {}
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        try:
            cluster, coming = _cluster(kind, settings, plan, folder, dashboard, lost)
            if not isinstance(cluster, str):
                stack.enter_context(cluster)
            client = DataClient(cluster, security=Security(), timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).removeprefix("Cluster failed to start: ").split())[:500]
            raise UsageError(f"cannot reach the cluster '{kind}': {why or type(error).__name__}") from error
        yield Opened(stack.enter_context(client), coming, lost, kind == "slurm")


def _encryption(tls: Tls) -> dict[str, Any]:
    """Return dask's settings of TLS, from which every process of a cluster takes them."""
    if not tls.complete:
        return {}
    ca, cert, key = (str(path.absolute()) for path in tls if path is not None)
    own = {f"distributed.comm.tls.{role}": {"cert": cert, "key": key} for role in ("client", "scheduler", "worker")}
    return {"distributed.comm.require-encryption": True, "distributed.comm.tls.ca-file": ca, **own}


def _cluster(
    kind: str, settings: dict[str, Any], plan: FleetPlan, folder: Path, dashboard: str | None, lost: dict[str, str]
) -> tuple[Any, Callable[[], int]]:
    """Return a cluster, or the address of somebody's, and what says how many workers are coming."""
    name, _, rest = kind.partition(":")
    # Without an address all that reach this machine would be served, even where nothing is shown.
    page = {"dashboard": dashboard is not None, "dashboard_address": dashboard or f"{LOOPBACK}:0"}
    if name == "dask":
        return rest, lambda: 1
    if name == "ssh":
        from .ssh import ssh_cluster

        hosts = list(dict.fromkeys(rest.split(",")))
        return ssh_cluster(hosts, plan.ssh.python, page, lost), lambda: len(hosts) - len(lost)
    if name == "slurm":
        from .slurm import slurm_cluster

        return slurm_cluster(plan.slurm, settings, page, folder / LOGS, lost)
    from distributed import LocalCluster

    count = int(rest or WORKERS)
    cluster = LocalCluster(
        n_workers=count, threads_per_worker=1, host=LOOPBACK, memory_limit=None, silence_logs=50, scheduler_kwargs=page,
        protocol="tls" if "distributed.comm.require-encryption" in settings else "tcp",
        worker_dashboard_address=f"{LOOPBACK}:0",
    )  # fmt: skip
    return cluster, lambda: count
