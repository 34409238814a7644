"""``ganbench fleet``: one plan measured on many machines."""

import collections
import itertools
import math
import operator
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, plural
from .defaults import Command
from .shared import FILE, Function, results_option
from .terminal import columns, progress_bar, say, write

if TYPE_CHECKING:
    from ..fleet.clusters import Tls
    from ..fleet.journal import Seen
    from ..fleet.plan import FleetPlan, Job
    from ..fleet.scheduler import Conductor
    from ..fleet.status import Standing

PLAN = click.argument("plan", type=FILE, metavar="PLAN.toml")
CLUSTER = "local (workers here, for trying it), ssh:HOST,USER@HOST:PORT, slurm, or dask:tls://HOST:PORT."
TLS = {"key": "This machine's private key", "cert": "This machine's certificate", "ca": "Certificate of its authority"}
SHOWN = 20  # reasons
STATES = ("done", "running", "to do", "failed", "cannot")
MACHINES = ("machine", *STATES, "cores", "notes")


def cluster_options(command: Function) -> Function:
    """Add the options that say how machines are reached, but for --cluster itself."""
    page = "Serve the scheduler's page there, such as 127.0.0.1:8787.  [default: none]"
    command = click.option("--dashboard", metavar="HOST:PORT", help=page)(command)
    trust = "Let dask:tcp:// work without TLS: every user of this machine could then run code as you."
    command = click.option("--trust-all-users", "all_trusted", is_flag=True, help=trust)(command)
    for name, text in TLS.items():
        command = click.option(f"--tls-{name}", name, type=FILE, metavar="FILE", help=f"{text}, for TLS.")(command)
    return command


@click.group("fleet")
def fleet_command() -> None:
    """Measure one plan on many machines, and collect every run here.

    \b
      ganbench fleet plan PLAN.toml --cluster local
      ganbench fleet run PLAN.toml --cluster local
      ganbench fleet status PLAN.toml
      ganbench report --across
    """


@fleet_command.command("run", cls=Command)
@PLAN
@click.option("--cluster", required=True, metavar="CLUSTER", help=CLUSTER)
@cluster_options
@results_option
def run_command(plan: Path, cluster: str, results: Path, dashboard: str | None, **tls: Any) -> None:
    """Measure PLAN.toml on every machine of a cluster that can. To continue after an interruption, run it again.

    Every run is saved in --results, below the name of its machine. What is there already is not measured again.
    """
    read, jobs, files = _ready(plan, **tls)
    from ..fleet.clusters import opened
    from ..fleet.journal import Journal
    from ..fleet.scheduler import Conductor
    from ..results.store import check_writable

    check_writable(results)
    journal = Journal(results)
    _tell_off_gpu(jobs, journal.seen)
    with journal.alone(), opened(cluster, files, read, journal.folder, dashboard) as there, progress_bar() as show:

        def tell(conductor: "Conductor") -> None:
            show(*_progress(conductor, jobs))

        conductor = Conductor(there, jobs, results, journal, say, tell)
        try:
            gone = conductor.run()
        except KeyboardInterrupt:
            say(
                f"interrupted: {conductor.came} runs collected; the same command continues, "
                "also with runs that the machines have begun"
            )
            sys.exit(130)
    _conclude(jobs, results, conductor, gone + list(there.lost))


@fleet_command.command("plan", cls=Command)
@PLAN
@click.option("--cluster", metavar="CLUSTER", help=CLUSTER)
@cluster_options
@results_option
def plan_command(plan: Path, cluster: str | None, results: Path, dashboard: str | None, **tls: Any) -> None:
    """Show what would run where, how long it should take, and what no machine can do; nothing is measured.

    With --cluster, its machines are asked now. Without it, the machines of earlier fleets are taken.
    """
    read, jobs, files = _ready(plan, **tls)
    from ..fleet.clusters import opened
    from ..fleet.journal import Journal
    from ..fleet.scheduler import Conductor

    journal = Journal(results, kept=False)
    if cluster is None:
        _tell_off_gpu(jobs, journal.seen)
        _table(jobs, results, None)
        return
    with opened(cluster, files, read, journal.folder, dashboard) as there:
        conductor = Conductor(there, jobs, results, journal, say, lambda _: None)
        conductor.meet_all()
        _tell_off_gpu(jobs, conductor.seen)
        _table(jobs, results, conductor)


@fleet_command.command("status", cls=Command)
@PLAN
@results_option
def status_command(plan: Path, results: Path) -> None:
    """Show what is done, running, failed and why, and how long the rest should take. Needs no cluster."""
    _table(_ready(plan)[1], results, None)


@fleet_command.command("script", cls=Command)
@PLAN
@click.option("--slurm", is_flag=True, required=True, help="A job array for sbatch.")
def script_command(plan: Path, slurm: bool) -> None:
    """Print one script that carries out PLAN.toml without dask: all that a node needs is ganbench."""
    from ..fleet.script import slurm_script

    read, jobs, _ = _ready(plan)
    click.echo(slurm_script(jobs, read.slurm, plan.name), nl=False)


def _ready(plan: Path, **tls: Any) -> "tuple[FleetPlan, list[Job], Tls]":
    from ..fleet.clusters import Tls
    from ..fleet.plan import jobs_of, read_plan

    read = read_plan(plan)
    return read, jobs_of(read, plan.parent), Tls(**tls)


def _progress(conductor: "Conductor", jobs: "list[Job]") -> tuple[float, str]:
    """Return the share of the runs that is done, and what is running."""
    done, flights = conductor.came + conductor.failed, conductor.flights
    total = done + len(flights) + conductor.waiting
    text = f"{conductor.came} of {total} runs collected" + f", {conductor.failed} failed" * bool(conductor.failed)
    text += f"; {conductor.awaited} more machines may come" * bool(conductor.awaited)
    running = [f"{name}: {jobs[flight.row.number].name}" for name, flight in flights[:5]]
    return done / total if total else 0.0, "\n".join([text, *running])


def _conclude(jobs: "list[Job]", results: Path, conductor: "Conductor", gone: list[str]) -> None:
    """Show how everything stands, and leave with the exit code that follows: 1 where anything is left."""
    from ..fleet.clusters import LOGS

    _table(jobs, results, conductor)
    if not conductor.machines:
        logs = conductor.journal.folder / LOGS
        where = f" What the jobs of SLURM said is in {logs}." if logs.is_dir() else ""
        raise UsageError(f"no machine has answered: are workers running there, and is ganbench installed?{where}")
    came = f"{plural(conductor.came, 'run')} collected in {results}"
    say(f"{came}; 'ganbench report {results} --across' shows all side by side")
    refused = [line.refused for line in conductor.seen.values()]  # of several, the jobs of one go elsewhere
    if conductor.failed or gone or conductor.waiting or conductor.missing or (refused and all(refused)):
        sys.exit(1)


def _table(jobs: "list[Job]", results: Path, conductor: "Conductor | None") -> None:
    """Print the machines, what each has done and is to do, and why the rest cannot be."""
    from ..fleet.journal import Journal
    from ..fleet.status import ANY, answers, remaining_s, standings

    journal = Journal(results)
    seen = journal.seen if conductor is None else conductor.seen
    if not seen:
        asked = plural(len(jobs), "job")
        say(f"{asked}; no machine is known yet: 'ganbench fleet plan --cluster ...' asks those of a cluster")
        for job in jobs:
            needs = f" with {', '.join(sorted(job.needs))}" if job.needs else ""
            click.echo(f"{job.name} ({'every machine' if job.every else ANY}{needs})")
        return
    rows = standings(jobs, seen, answers(results), journal.open, journal.live() and conductor is None)
    columns(MACHINES, _machine_lines(rows, seen), "notes")
    reason = operator.attrgetter("machine", "state", "why")
    told = sorted((row for row in rows if row.state in ("running", "failed", "cannot")), key=reason)
    groups = [(shared, list(group)) for shared, group in itertools.groupby(told, key=reason)]
    click.echo(nl=bool(groups))
    for (machine, state, why), group in groups[:SHOWN]:
        # Lines, not a table: names of jobs are long, and a reason must not be cut.
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        text = ": ".join(filter(None, [machine, state, jobs[group[0].number].name + more, why]))
        write(f"{text}\n", None)
    if len(groups) > SHOWN:
        click.echo(f"... and {len(groups) - SHOWN} more")
    left = sum(row.state in ("to do", "running", "failed") for row in rows)
    done = sum(row.state == "done" for row in rows)
    rest = f"; {left} to do: {_duration(remaining_s(jobs, rows))}" if left else ""
    click.echo(f"\n{done} of {done + left} runs are done{rest}")


def _tell_off_gpu(jobs: "list[Job]", seen: "Mapping[str, Seen]") -> None:
    from ..fleet.machines import off_gpu

    if found := off_gpu(jobs, [line.about for line in seen.values()]):
        say(
            f"jobs that need a GPU measure {', '.join(found)} on the CPU of its machine: to measure on the GPU, name "
            'the device, as in torch@cuda, or devices = ["cuda"] in that matrix'
        )


def _machine_lines(rows: "Sequence[Standing]", seen: "Mapping[str, Seen]") -> Iterator[tuple[str, ...]]:
    """Yield a line for each machine with ``MACHINES``: the number of jobs in each state, and a note."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter((row.machine, row.state) for row in rows)
    for name in dict.fromkeys([*seen, *(row.machine for row in rows)]):
        line = seen.get(name)
        notes = "" if line is None else f"refused: {line.refused}" if line.refused else "; ".join(line.remarks)
        cores = str(line.about.cores) if line else ""
        yield name, *(str(counts[name, state] or "") for state in STATES), cores, notes


def _duration(seconds: float) -> str:
    """Return a duration as text; NaN: unknown."""
    if math.isnan(seconds):
        return "it is not known how long, because runs with 'rounds' have no budget, and none is done yet"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} minutes" if seconds < 7200 else f"about {seconds / 3600:.1f} hours"
