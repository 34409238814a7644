"""Conducts a fleet: asks workers for their machines, gives each machine one job at a time, keeps what comes home.

Never more than one job of ours is given to a machine, so the scheduler holds no more tasks than there are machines,
however long the plan is. A future is let go as soon as its bytes are on the disk.
"""

import contextlib
import hashlib
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..errors import GanbenchError
from ..results.importing import LeftOutError
from . import worker_tasks
from .journal import Came, Failed, Given, Journal, Seen
from .machines import Description, misfit, named, parse, refusal, remarks
from .plan import MODEL, Job
from .receive import outcome_of, save_run
from .status import ANY, Standing, answers, question, standings

if TYPE_CHECKING:
    from .clusters import Opened

LOOK_S = 1.0  # how often the workers are counted
PATIENCE_S = 60.0  # a machine whose workers are gone may come back so long
QUEUE_S = 10.0  # how often a queue is asked who may still come
Tell = Callable[["Conductor"], None]


class Flight(NamedTuple):
    """A job that was given out."""

    row: Standing
    question: str
    future: Any  # of dask, or an ``Answer``
    workers: frozenset[str]
    since: float


@dataclass
class Machine:
    """One machine, the addresses of its workers, and what it is still to do."""

    seen: Seen
    workers: set[str] = field(default_factory=set)
    todo: deque[Standing] = field(default_factory=deque)
    flight: Flight | None = None
    alone_since: float = 0.0  # since when no worker is there


class Conductor:
    """One carrying out of a plan on one cluster; ``tell`` is called whenever something has changed."""

    def __init__(
        self, cluster: "Opened", jobs: Sequence[Job], results: Path, journal: Journal, say: Callable[[str], None],
        tell: Tell,
    ) -> None:  # fmt: skip
        self.jobs, self.results, self.journal = jobs, results, journal
        self.machines: dict[str, Machine] = {}
        self.came = self.failed = 0
        self._cluster, self._client, self._say, self._tell = cluster, cluster.client, say, tell
        self._anywhere: deque[Standing] = deque()
        self._hosts = {line.about.host: name for name, line in journal.seen.items()}
        self._answers = answers(results)
        self._done: set[tuple[str, str]] = set()  # (machine, question) of what came home now
        self._asked: set[str] = set()  # addresses of workers, those that cannot be used among them
        self._there: set[str] = set()  # addresses of workers
        self._told: set[str] = set()  # what cannot be had, and was said
        self._events: queue.Queue[Any] = queue.Queue()
        self._looked = self._began = time.monotonic()
        self._queue, self._queue_read = 0, 0.0

    def look(self) -> None:
        """Count the workers, and ask those that are new for their machines."""
        self._looked = time.monotonic()
        lost = dict(self._cluster.lost)
        for name in sorted(set(lost) - self._told):
            self._queue_read = 0.0
            self._say(f"no job goes to {name}: {lost[name]}")
        self._told = set(lost)
        there = set(self._client.nthreads())
        if there != self._there:
            self._there, self._queue_read = there, 0.0
        for machine in self.machines.values():
            machine.workers &= there
            machine.alone_since = 0.0 if machine.workers else machine.alone_since or self._looked
        new = sorted(there - self._asked)
        if not new:
            return
        self._asked |= there
        sent = time.time()
        answers_of = self._client.ask(worker_tasks.describe, workers=new)
        between = (sent + time.time()) / 2
        for address, content in sorted(answers_of.items()):
            try:
                if isinstance(content, str):
                    raise GanbenchError(content)
                self._meet(address, parse(content), between)
            except GanbenchError as error:
                self._say(f"no job goes to {address}: {error}")
                self._give_back({address})

    def meet_all(self) -> None:
        """Ask every worker that comes in time for its machine."""
        self.look()
        while not self._all_have_come() and self._looked - self._began < PATIENCE_S:
            time.sleep(LOOK_S)
            self.look()

    def _meet(self, address: str, about: Description, between: float) -> None:
        """Take in a worker; its machine is new if none of its workers was met before."""
        name = named(about.hardware, about.host, self._hosts)
        told = remarks(about, about.clock - between, self.jobs)
        seen = Seen(machine=name, about=about, refused=refusal(about), remarks=told)
        is_new = name not in self.machines
        machine = self.machines.setdefault(name, Machine(seen))
        if is_new or seen.refused != machine.seen.refused:  # such as a worker that has the right version now
            machine.seen = seen
            self.journal.write(seen)
            self._place(machine)
        if is_new:
            for text in [f"no job goes there: {seen.refused}"] if seen.refused else seen.remarks:
                self._say(f"{name}: {text}")
        machine.workers.add(address)
        machine.alone_since = 0.0

    def _place(self, machine: Machine) -> None:
        """Say what a machine is to do: what it can, and has not done."""
        rows = standings(self.jobs, {machine.seen.machine: machine.seen}, self._answers, {}, live=False)
        machine.todo = deque(row for row in rows if row.machine != ANY and row.state == "to do")
        anywhere = [number for number, job in enumerate(self.jobs) if not job.every]
        if anywhere and len(self.machines) == 1:
            everywhere = standings(self.jobs, {**self.journal.seen, **self.seen}, self._answers, {}, live=False)
            self._anywhere = deque(row for row in everywhere if row.machine == ANY and row.state != "done")

    @property
    def seen(self) -> dict[str, Seen]:
        """What each machine of this cluster said."""
        return {name: machine.seen for name, machine in self.machines.items()}

    @property
    def flights(self) -> list[tuple[str, Flight]]:
        """What is being measured, and on which machine."""
        return [(name, one.flight) for name, one in self.machines.items() if one.flight is not None]

    @property
    def waiting(self) -> int:
        """How many runs are still to be given out."""
        return sum(len(machine.todo) for machine in self.machines.values()) + len(self._fitting())

    @property
    def awaited(self) -> int:
        """How many workers may still come, as far as was asked."""
        return max(self._queue - len(self._there), 0)

    @property
    def missing(self) -> int:
        """How many workers have never come."""
        return max(self._queue - len(self._asked), 0)

    def run(self) -> list[str]:
        """Carry out the plan; return the machines that are gone with work left.

        Raises ``StorageError`` if results cannot be saved, ``GanbenchError`` where the scheduler is gone.
        """
        try:
            self.look()
            while True:
                gone = self._give()
                if not self.flights and (gone is not None) and self._all_have_come():
                    for name in gone:
                        self._say(f"{name} is gone: its workers have not come back; the same command continues")
                    if self.missing:
                        workers = f"{self.missing} worker{'s have' if self.missing > 1 else ' has'}"
                        self._say(f"{workers} not come within {PATIENCE_S:g} s: can they reach the scheduler?")
                    return gone
                self._tell(self)
                with contextlib.suppress(queue.Empty):
                    self._take(self._events.get(timeout=LOOK_S))
                if time.monotonic() - self._looked > LOOK_S:
                    self.look()
                    self._call_back()
        except GanbenchError:
            raise
        except OSError as error:
            raise GanbenchError(
                f"the scheduler does not answer any more ({error or type(error).__name__}): the runs so far are saved; "
                "when it runs again, the same command continues"
            ) from error
        finally:
            for _, flight in self.flights:
                flight.future.cancel()

    def _all_have_come(self) -> bool:
        passed = time.monotonic()
        if passed - self._queue_read > QUEUE_S:
            self._queue, self._queue_read = self._cluster.coming(), passed
        return not self.awaited or (not self._cluster.rented and passed - self._began > PATIENCE_S)

    def _give(self) -> list[str] | None:
        """Give every idle machine its next job; return None while work is left, else which machines are gone."""
        gone, left = [], False
        for name, machine in self.machines.items():
            if machine.flight is not None:
                continue
            if machine.seen.refused:
                self._give_back(machine.workers)
                continue
            row = self._next(machine) if machine.workers else None
            if row is not None:
                self._send(name, machine, row)
            elif machine.workers and not self._could_help(machine):
                self._give_back(machine.workers)
            elif machine.todo:
                waited = time.monotonic() - machine.alone_since
                gone += [name] * (waited > PATIENCE_S)
                left |= waited <= PATIENCE_S
        return None if left else gone

    def _next(self, machine: Machine) -> Standing | None:
        """Take the next job of a machine: one of its own, else one for any machine."""
        while machine.todo:
            row = machine.todo.popleft()
            if (machine.seen.machine, row.question) not in self._done:  # two jobs may ask the same of some machine
                return row
        for row in self._fitting(machine):
            self._anywhere.remove(row)
            if not self._is_done(self.jobs[row.number]):
                return row
        return None

    def _give_back(self, workers: set[str]) -> None:
        """End workers for which nothing is left, if others may be waiting for their machines."""
        if workers and self._cluster.rented:
            self._client.retire_workers(sorted(workers))
            workers.clear()

    def _could_help(self, machine: Machine) -> bool:
        """Whether a job for any machine is being measured which, if it comes back, this one can do."""
        jobs = [self.jobs[flight.row.number] for _, flight in self.flights if flight.row.machine == ANY]
        return any(not misfit(job, machine.seen.about) for job in jobs)

    def _is_done(self, job: Job) -> bool:
        """Whether some machine has answered what ``job`` asks since the plan was begun."""
        return any((name, question(job, line.about.cores)) in self._done for name, line in self.seen.items())

    def _fitting(self, *machines: Machine) -> list[Standing]:
        """Return the jobs for any machine that one of these can do: of all machines where none is named."""
        chosen = [one.seen for one in machines or self.machines.values() if not one.seen.refused]
        return [row for row in self._anywhere if any(not misfit(self.jobs[row.number], one.about) for one in chosen)]

    def _send(self, name: str, machine: Machine, row: Standing) -> None:
        job = self.jobs[row.number]
        asked = question(job, machine.seen.about.cores)
        order = worker_tasks.Order(self._place_of(asked), list(job.arguments), job.model, MODEL, name)
        self.journal.write(Given(machine=name, question=asked))
        future = self._client.submit(
            worker_tasks.measure, msgspec.msgpack.encode(order), workers=sorted(machine.workers), retries=3, pure=False
        )
        workers = getattr(future, "workers", frozenset(machine.workers))  # dask moves a job between those of a machine
        machine.flight = Flight(row, asked, future, workers, time.monotonic())
        future.add_done_callback(self._events.put)

    def _place_of(self, asked: str) -> str:
        """Return where a worker keeps the outcome: another fleet that asks the same has another place."""
        fleet = hashlib.sha256(f"{worker_tasks.host()} {self.results.resolve()}".encode()).hexdigest()[:16]
        return f"{asked}-{fleet}"

    def _call_back(self) -> None:
        """Take back what waits for workers that are gone: a worker that was started again has another address."""
        for machine in self.machines.values():
            flight = machine.flight
            if flight is not None and not flight.workers & machine.workers:
                machine.flight = None
                flight.future.cancel()
                reasons = [self._cluster.lost.get(address.partition(" (")[0], "") for address in flight.workers]
                why = "; ".join(filter(None, reasons)) or "its worker is gone"
                self.journal.write(Failed(machine=machine.seen.machine, question=flight.question, why=why))
                (machine.todo if flight.row.machine != ANY else self._anywhere).appendleft(flight.row)

    def _take(self, future: Any) -> None:
        """Keep what came home from one flight, and let go of it."""
        machine = next((m for m in self.machines.values() if m.flight is not None and m.flight.future is future), None)
        if machine is None or machine.flight is None:
            return  # it was taken back
        name, flight, machine.flight = machine.seen.machine, machine.flight, None
        seconds = round(time.monotonic() - flight.since, 2)
        try:
            run = save_run(outcome_of(future), self.results, name, flight.question)
        except (LeftOutError, msgspec.MsgspecError) as error:
            self.failed += 1
            self.journal.write(Failed(machine=name, question=flight.question, why=str(error)))
            self._say(f"{name}: {self.jobs[flight.row.number].name}: failed: {error}")
            return
        finally:
            future.release()
        self.came += 1
        self._done.add((name, flight.question))
        self.journal.write(Came(machine=name, question=flight.question, run=run, seconds=seconds))
        if there := sorted(flight.workers & machine.workers)[:1]:
            self._client.ask(worker_tasks.forget, self._place_of(flight.question), workers=there)
