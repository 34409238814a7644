"""``ganbench fleet``: one plan measured on many machines."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .defaults import Command
from .shared import Command as CommandFunction, results_option
from .terminal import columns, progress_bar, say, write

if TYPE_CHECKING:
    from ..fleet.clusters import Tls
    from ..fleet.plan import FleetPlan, Job
    from ..fleet.scheduler import Conductor

FILE = click.Path(path_type=Path)
PLAN = click.argument("plan", type=FILE, metavar="PLAN.toml")
SHOWN = 20  # reasons


def cluster_options(required: bool) -> Callable[[CommandFunction], CommandFunction]:
    """Return the options that say where the machines come from."""

    def add(command: CommandFunction) -> CommandFunction:
        options = [
            click.option("--cluster", required=required, metavar="CLUSTER",
                         help="local (workers here, for trying it), ssh:HOST,HOST, slurm, or dask:tls://HOST:PORT."),
            click.option("--tls-ca", type=FILE, metavar="FILE", help="Certificate of who signs, for TLS."),
            click.option("--tls-cert", type=FILE, metavar="FILE", help="Certificate of these machines, for TLS."),
            click.option("--tls-key", type=FILE, metavar="FILE", help="Its private key, for TLS."),
            click.option("--dashboard", metavar="HOST:PORT",
                         help="Serve the scheduler's page there, such as 127.0.0.1:8787.  [default: none]"),
        ]  # fmt: skip
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group("fleet")
def fleet_command() -> None:
    """Measure one plan on many machines, and bring every run home.

    \b
      ganbench fleet plan PLAN.toml --cluster local
      ganbench fleet run PLAN.toml --cluster local
      ganbench fleet status PLAN.toml
      ganbench report --across
    """


@fleet_command.command("run", cls=Command)
@PLAN
@cluster_options(required=True)
@results_option
def run_command(plan: Path, cluster: str, results: Path, dashboard: str | None, **tls: Path | None) -> None:
    """Carry out PLAN.toml on every machine of a cluster that can; the same command goes on after an interruption.

    Every run comes home into --results, below the name of its machine. What is there already is not measured again.
    """
    from ..fleet.clusters import opened
    from ..fleet.journal import Journal, Started, now
    from ..fleet.scheduler import Conductor
    from ..results.store import check_writable

    read, jobs, files = _ready(plan, tls)
    check_writable(results)
    journal = Journal(results)
    with journal.alone(), opened(cluster, files, read, journal.folder, dashboard) as there, progress_bar() as show:
        journal.write(Started(at=now(), plan=plan.name, cluster=cluster))

        def tell(conductor: "Conductor") -> None:
            show(*_progress(conductor, jobs))

        conductor = Conductor(there, jobs, results, journal, say, tell)
        try:
            gone = conductor.run()
        except KeyboardInterrupt:
            say(f"interrupted: {conductor.came} runs came home; the same command goes on")
            sys.exit(130)
    _conclude(jobs, results, conductor, gone + list(there.lost))


@fleet_command.command("plan", cls=Command)
@PLAN
@cluster_options(required=False)
@results_option
def plan_command(plan: Path, cluster: str | None, results: Path, dashboard: str | None, **tls: Path | None) -> None:
    """Show what would run where, how long it should take, and what no machine can do; nothing is measured.

    With --cluster its machines are asked now; without, the plan is held against the machines of earlier fleets.
    """
    read, jobs, files = _ready(plan, tls, cluster is not None)
    if cluster is None:
        _table(jobs, results, None)
        return
    from ..fleet.clusters import opened
    from ..fleet.journal import Journal
    from ..fleet.scheduler import PATIENCE_S, Conductor

    journal = Journal(results, kept=False)
    with opened(cluster, files, read, journal.folder, dashboard) as there:
        with contextlib.suppress(TimeoutError):
            there.client.wait_for_workers(max(there.coming(), 1), timeout=PATIENCE_S)
        conductor = Conductor(there, jobs, results, journal, say, lambda _: None)
        conductor.look()
        _table(jobs, results, conductor)


@fleet_command.command("status", cls=Command)
@PLAN
@results_option
def status_command(plan: Path, results: Path) -> None:
    """Show what is done, running, failed and why, and how long the rest should take. Needs no cluster."""
    from ..fleet.plan import jobs_of, read_plan

    _table(jobs_of(read_plan(plan), plan.parent), results, None)


@fleet_command.command("script", cls=Command)
@PLAN
@click.option("--slurm", is_flag=True, required=True, help="A job array for sbatch.")
def script_command(plan: Path, slurm: bool) -> None:
    """Print one script that carries out PLAN.toml without dask: all that a node needs is ganbench."""
    from ..fleet.plan import jobs_of, read_plan
    from ..fleet.script import slurm_script

    read = read_plan(plan)
    click.echo(slurm_script(jobs_of(read, plan.parent), read.slurm, plan.name), nl=False)


def _ready(plan: Path, tls: dict[str, Path | None], engine: bool = True) -> "tuple[FleetPlan, list[Job], Tls]":
    from ..fleet.clusters import Tls, check_installed
    from ..fleet.plan import jobs_of, read_plan

    if engine:
        check_installed()
    read = read_plan(plan)
    return read, jobs_of(read, plan.parent), Tls(tls["tls_ca"], tls["tls_cert"], tls["tls_key"])


def _progress(conductor: "Conductor", jobs: "list[Job]") -> tuple[float, str]:
    """Return the share of the runs that is done, and what is running."""
    done, flights = conductor.came + conductor.failed, conductor.flights
    total = done + len(flights) + conductor.waiting
    text = f"{conductor.came} of {total} runs came home" + f", {conductor.failed} failed" * bool(conductor.failed)
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
        raise UsageError(f"no machine has answered: are workers running, with ganbench installed beside them?{where}")
    say(f"{conductor.came} runs came home into {results}; 'ganbench report {results} --across' shows all side by side")
    if conductor.failed or gone or conductor.waiting or conductor.missing:
        sys.exit(1)


def _table(jobs: "list[Job]", results: Path, conductor: "Conductor | None") -> None:
    """Print the machines, what each has done and is to do, and why the rest cannot be."""
    from ..fleet.answers import answers
    from ..fleet.journal import Journal
    from ..fleet.status import remaining_s, standings
    from ..fleet.words import MACHINES, first_lines, machine_lines, reason_lines, rest

    journal = Journal(results)
    seen = journal.seen if conductor is None else conductor.seen
    if not seen:
        say(f"{len(jobs)} jobs; no machine is known yet: 'ganbench fleet plan --cluster ...' asks those of a cluster")
        for line in first_lines(jobs):
            click.echo(line)
        return
    rows = standings(jobs, seen, answers(results), journal.open, journal.live() and conductor is None)
    columns(MACHINES, machine_lines(rows, seen), "notes")
    if found := reason_lines(jobs, rows):
        # Lines, not a table: names of jobs are long, and a reason must not be cut.
        write("\n" + "".join(": ".join(filter(None, line)) + "\n" for line in found[:SHOWN]), None)
        if len(found) > SHOWN:
            click.echo(f"... and {len(found) - SHOWN} more")
    click.echo(f"\n{rest(rows, remaining_s(jobs, rows))}")
