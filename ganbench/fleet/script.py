"""One script for clusters without dask: a SLURM job array, of which each task is one run, alone on its node."""

import shlex
from collections.abc import Sequence

from ..errors import UsageError
from .plan import MODEL, Job, Slurm

HEAD = """#!/bin/bash
# Written by 'ganbench fleet script --slurm' from {plan}. All that a node needs is ganbench.
#   sbatch SCRIPT                                       one task for each run
#   ganbench results import ganbench-array              when they have ended: into results/, each file checked
# Tasks that failed can be given again: sbatch --array=3,7 SCRIPT
#SBATCH --job-name=ganbench
#SBATCH --array=1-{count}
#SBATCH --nodes=1
#SBATCH --exclusive
{directives}
set -euo pipefail
{prologue}results=$PWD/ganbench-array
mkdir -p "$results"
cd "$(mktemp -d)"
case ${{SLURM_ARRAY_TASK_ID:?sbatch sets it; to try a task here: SLURM_ARRAY_TASK_ID=1 bash SCRIPT}} in
{cases}
*) echo "there is no task $SLURM_ARRAY_TASK_ID: 1 to {count}" >&2; exit 2 ;;
esac
"""


def slurm_script(jobs: Sequence[Job], slurm: Slurm, plan: str) -> str:
    """Return the script. What a job needs is for SLURM to know: raises ``UsageError`` where jobs differ in that."""
    needs = {job.needs for job in jobs}
    if len(needs) > 1:
        listed = "; ".join(", ".join(sorted(one)) or "nothing" for one in sorted(needs, key=sorted))
        raise UsageError(
            f"the matrices of this plan need different machines ({listed}), and a job array has one kind: make a plan "
            "for each, with its own [slurm] directives"
        )
    given = {"partition": slurm.partition, "account": slurm.account, "time": slurm.walltime, "mem": slurm.memory}
    directives = [f"--{name}={value}" for name, value in given.items() if value is not None] + slurm.directives
    return HEAD.format(
        plan=plan.replace("\n", " "),
        count=len(jobs),
        directives="\n".join(f"#SBATCH {line}" for line in directives),
        prologue="".join(f"{line}\n" for line in slurm.prologue),
        cases="\n".join(f"{number}) {_case(job)} ;;" for number, job in enumerate(jobs, 1)),
    )


def _case(job: Job) -> str:
    command = shlex.join(["ganbench", "compare", *job.arguments]) + ' --results "$results"'
    return f"cat > {MODEL} <<'END'\n{job.model}END\n{command}" if job.model else command
