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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import UnavailableError, UsageError
from .plan import Slurm

if TYPE_CHECKING:
    from distributed import Security

    from .client import DataClient

LOOPBACK = "127.0.0.1"
WORKERS = 3  # of ``local``
KINDS = "local, local:N, ssh:HOST,HOST, slurm, dask:tls://HOST:PORT (or dask:tcp://127.0.0.1:PORT)"
CONNECT_S = 30
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
    if name == "local" and (not rest or re.fullmatch(r"[1-9]\d{0,2}", rest)):
        return
    if name == "dask" and (rest.startswith(("tcp://", "tls://"))):
        address = urlsplit(rest)
        if not address.hostname or not _port(rest):
            raise UsageError(f"cluster '{kind}' is not valid: dask:tls://HOST:PORT")
        if address.scheme == "tcp" and _is_loopback(address.hostname):
            return
        if address.scheme == "tcp":
            raise UsageError(
                f"refused: {rest} is not this machine and has no TLS, so anybody between could run code on every "
                f"worker; start scheduler and workers with TLS, and name dask:tls://{address.netloc} and "
                "--tls-ca, --tls-cert and --tls-key"
            )
    elif not (name == "slurm" and not rest) and not (name == "ssh" and _hosts(rest)):
        raise UsageError(f"cluster '{kind}' is not valid (known: {KINDS})")
    if not tls.complete:
        raise UsageError(
            f"refused: --cluster {kind} leaves this machine, and a task of dask is code that any sender can have run; "
            "name the files of TLS with --tls-ca, --tls-cert and --tls-key (docs/fleet.md says how to make them)"
        )


def expected(kind: str, slurm: Slurm) -> int:
    """Return how many workers a cluster should have."""
    name, _, rest = kind.partition(":")
    return {
        "local": int(rest or WORKERS) if name == "local" else 0,
        "ssh": len(_hosts(rest)),
        "slurm": slurm.nodes,
    }.get(name, 1)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _hosts(text: str) -> list[str]:
    return [host for host in text.split(",") if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*", host)]


@contextlib.contextmanager
def opened(kind: str, tls: Tls, slurm: Slurm, dashboard: str | None = None) -> "Iterator[DataClient]":
    """Yield a client of the cluster, which ends with it unless it is somebody's own.

    ``dashboard`` is an address for the scheduler's page, such as ``127.0.0.1:8787``; None: there is none.
    Raises ``UsageError`` where nobody answers.
    """
    check(kind, tls)
    import dask
    from distributed import Security

    from .client import DataClient

    for name in ("distributed", "tornado", "asyncio"):  # what matters of it is said by us, in words
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    security = Security(
        tls_ca_file=str(tls.ca), tls_client_cert=str(tls.cert), tls_client_key=str(tls.key),
        tls_scheduler_cert=str(tls.cert), tls_scheduler_key=str(tls.key),
        tls_worker_cert=str(tls.cert), tls_worker_key=str(tls.key), require_encryption=True,
    ) if tls.complete else Security()  # fmt: skip
    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        try:
            if kind.startswith("dask:"):
                cluster: Any = kind.removeprefix("dask:")
            else:
                cluster = stack.enter_context(_cluster(kind, security, slurm, dashboard))
            client = DataClient(cluster, security=security, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise UsageError(f"cannot reach the cluster '{kind}': {why}") from error
        yield stack.enter_context(client)


def _cluster(kind: str, security: "Security", slurm: Slurm, dashboard: str | None) -> Any:
    name, _, rest = kind.partition(":")
    page = {"dashboard_address": dashboard, "dashboard": dashboard is not None}
    if name == "local":
        from distributed import LocalCluster

        return LocalCluster(
            n_workers=int(rest or WORKERS), threads_per_worker=1, processes=True, host=LOOPBACK, memory_limit=None,
            dashboard_address=dashboard, worker_dashboard_address=None, silence_logs=50, protocol="tcp",
        )  # fmt: skip
    if name == "ssh":
        from distributed import SSHCluster

        hosts = _hosts(rest)
        return SSHCluster(
            [hosts[0], *hosts], security=security, remote_python=None,
            worker_options={"nthreads": 1, "n_workers": 1, "memory_limit": "0"},
            scheduler_options={"protocol": "tls://", **page},
        )  # fmt: skip
    from dask_jobqueue.slurm import SLURMCluster

    cluster = SLURMCluster(
        queue=slurm.partition, account=slurm.account, walltime=slurm.walltime, memory=slurm.memory,
        cores=1, processes=1, nanny=True, protocol="tls://", security=security, scheduler_options=page,
        job_extra_directives=["--nodes=1", "--exclusive", *slurm.directives], job_script_prologue=slurm.prologue,
    )  # fmt: skip
    cluster.scale(jobs=slurm.nodes)
    return cluster
