"""Machines of SLURM: one job a node, each with one worker, submitted by dask-jobqueue."""

import getpass
import subprocess
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed import Security
from distributed.core import Status

from .plan import Slurm

ASK_S = 30


class Queue:
    """The jobs of one cluster; ``lost`` takes up why some could not be submitted."""

    def __init__(self, nodes: int, lost: dict[str, str]) -> None:
        self.nodes, self.lost = nodes, lost
        self.submitted: set[str] = set()

    def coming(self) -> int:
        """Return how many jobs wait or run, or are still to be submitted; all where SLURM does not answer."""
        submitted = set(self.submitted)
        try:
            asked = ["squeue", "--noheader", "--format=%i", "--user", getpass.getuser(), "--states=pending,running"]
            listed = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            listed = " ".join(submitted)
        return self.nodes - len(self.lost) - len(submitted - set(listed.split()))


class Node(SLURMJob):
    """One job. Where it is not taken, the cluster goes on without it."""

    def __init__(self, *arguments: Any, queue_of: Queue, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._queue = queue_of

    async def start(self) -> None:
        """Submit it, or note why it was not taken."""
        try:
            await super().start()  # type: ignore[no-untyped-call]
            self._queue.submitted.add(str(self.job_id))
        except FileNotFoundError as error:
            self._lose(f"there is no {error.filename}: is this a machine from which jobs are given to SLURM?")
        except (OSError, RuntimeError, ValueError) as error:
            said = [line for line in str(error).splitlines() if line.startswith("sbatch: ")]
            self._lose("; ".join(said) or " ".join(str(error).split()))

    def _lose(self, why: str) -> None:
        self._queue.lost[f"node {self.name}"] = why
        self.status = Status.running  # for the cluster, which would end with the first that is not


def slurm_cluster(slurm: Slurm, settings: dict[str, Any], page: dict[str, Any], logs: Path, queue: Queue) -> Any:
    """Submit the jobs, and return their cluster."""
    inherited = dask.config.serialize(settings)
    return SLURMCluster(
        job_cls=Node,  # type: ignore[arg-type]
        queue_of=queue, n_workers=slurm.nodes,
        queue=slurm.partition, account=slurm.account, walltime=slurm.walltime, memory=slurm.memory,
        cores=1, processes=1, nanny=True, protocol="tls://", security=Security(),
        scheduler_options=page, log_directory=str(logs.absolute()), job_name="ganbench-fleet",
        worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        job_extra_directives=["--nodes=1", "--exclusive", *slurm.directives],
        job_script_prologue=[f"export DASK_INTERNAL_INHERIT_CONFIG={inherited}", *slurm.prologue],
    )  # fmt: skip
