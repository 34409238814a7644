"""Machines of SLURM by dask-jobqueue: one job a node, each with one worker."""

import getpass
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed import Security
from distributed.core import Status

from .plan import Slurm

ASK_S = 30


class Node(SLURMJob):
    """One job. Where SLURM does not take it, ``lost`` says why, and the cluster goes on without it."""

    def __init__(self, *arguments: Any, submitted: set[str], lost: dict[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._submitted, self._lost = submitted, lost

    async def start(self) -> None:
        """Submit it, or note why it was not taken."""
        try:
            await super().start()  # type: ignore[no-untyped-call]
            self._submitted.add(str(self.job_id))
        except (OSError, RuntimeError, ValueError) as error:
            said = [line for line in str(error).splitlines() if line.startswith("sbatch: ")]
            self._lost[f"node {self.name}"] = "; ".join(said) or " ".join(str(error).split())
            self.status = Status.running  # for the cluster, which would end with the first that is not


def slurm_cluster(
    slurm: Slurm, settings: dict[str, Any], page: dict[str, Any], logs: Path, lost: dict[str, str]
) -> tuple[Any, Callable[[], int]]:
    """Submit the jobs; return their cluster, and what says how many of them wait or run.

    Raises ``OSError`` where there is no SLURM.
    """
    if shutil.which("sbatch") is None:
        raise OSError("there is no sbatch: can one submit jobs to SLURM from this machine?")
    submitted: set[str] = set()

    def coming() -> int:
        """Return how many are still to be submitted, wait or run; all where SLURM does not answer."""
        asked = ["squeue", "--noheader", "--format=%i", "--user", getpass.getuser(), "--states=pending,running"]
        known = set(submitted)
        try:
            listed = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            listed = " ".join(known)
        return slurm.nodes - len(lost) - len(known - set(listed.split()))

    cluster = SLURMCluster(
        job_cls=Node,  # type: ignore[arg-type]
        submitted=submitted, lost=lost, n_workers=slurm.nodes,
        queue=slurm.partition, account=slurm.account, walltime=slurm.walltime, memory=slurm.memory,
        cores=1, processes=1, nanny=True, protocol="tls://", security=Security(),
        scheduler_options=page, log_directory=str(logs.absolute()), job_name="ganbench-fleet",
        worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        job_extra_directives=["--nodes=1", "--exclusive", *slurm.directives],
        job_script_prologue=[
            f"export DASK_INTERNAL_INHERIT_CONFIG={dask.config.serialize(settings)}", *slurm.prologue
        ],
    )  # fmt: skip
    return cluster, coming
