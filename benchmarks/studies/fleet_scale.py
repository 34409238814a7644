"""How many machines and jobs can one fleet have? A thousand simulated workers, a hundred jobs each, in one process.

The conductor is the real one, with its journal, its checks and its files; dask is a model that answers at once, and a
measurement is a small real run with another machine's name on it. So what is timed is all that the fleet does itself
for a run. At the end the results folder is read as the same command would read it again.

Half an hour, 1 GB below the temporary folder: ``python benchmarks/studies/fleet_scale.py``
"""

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import psutil
from study import Study, options

import ganbench
from ganbench.fleet import worker_tasks
from ganbench.fleet.clusters import Opened
from ganbench.fleet.journal import Journal
from ganbench.fleet.plan import jobs_of, read_plan
from ganbench.fleet.scheduler import Conductor
from ganbench.fleet.status import answers

MACHINES, JOBS = 1000, 100
PIECE = 10_000  # runs between two lines of the study
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    chosen = options("fleet_scale", __doc__).parse_args()
    machines, jobs = (20, 5) if chosen.short else (MACHINES, JOBS)
    study = Study(chosen, machines=machines, jobs=jobs)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        plan = place / "plan.toml"
        plan.write_text("".join(matrix(number) for number in range(jobs)))
        client = Client(machines, real_run(place / "real"))
        conduct(study, client, place / "results", plan, PIECE if not chosen.short else 50)
        start = time.monotonic()
        found = answers(place / "results")
        study.add({"read again": len(found), "seconds": time.monotonic() - start})
    study.conclude(judge(study.pieces, machines * jobs))


def matrix(number: int) -> str:
    """Return a matrix whose job differs from the others in what a run records, and not in what it measures."""
    asked = 'backends = ["numpy"]\npresets = ["tiny"]\nops = ["matmul"]\nrounds = 1\n'
    return f"[[matrix]]\n{asked}timeout = {100 + number}\n"


def real_run(folder: Path) -> list[dict]:
    """Return the lines of one real run."""
    run = ganbench.compare(["numpy"], preset="tiny", ops=["matmul"], rounds=1, timeout_s=100.0, results=folder)
    return [json.loads(line) for line in run.path.read_text().splitlines()]


class Future:
    """A task that is done at once."""

    status = "finished"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def add_done_callback(self, call) -> None:
        call(self)

    def result(self) -> bytes:
        return self._content

    def release(self) -> None: ...

    cancel = release


class Client:
    """What a conductor asks of dask: workers, their descriptions, and what they measured."""

    def __init__(self, machines: int, run: list[dict]) -> None:
        self._head, *rest = run
        self._rest = b"".join(msgspec.json.encode(line) + b"\n" for line in rest)
        self._workers = {f"tcp://10.0.{number // 256}.{number % 256}:1": 1 for number in range(machines)}
        self._given = 0

    def nthreads(self) -> dict[str, int]:
        return self._workers

    def ask(self, function, *arguments, workers) -> dict[str, bytes]:
        if function is not worker_tasks.describe:
            return {}
        about = {
            "version": ganbench.__version__, "hardware": "simulated", "cores": self._head["threads"], "gpus": [],
            "declared": [], "knows": ["numpy"], "lacks": {}, "free_bytes": 2**40, "clock": time.time(),
        }  # fmt: skip
        return {name: msgspec.json.encode(about | {"host": f"{abs(hash(name)):016x}"[:16]}) for name in workers}

    def submit(self, function, content: bytes, **more) -> Future:
        order = msgspec.msgpack.decode(content, type=worker_tasks.Order)
        self._given += 1
        moment = FIRST + timedelta(seconds=self._given)
        head = self._head | {
            "machine": order.machine,
            "timeout_s": float(order.arguments[order.arguments.index("--timeout") + 1]),
            "run_id": f"{moment:%Y%m%dT%H%M%SZ}-0000",
            "timestamp": moment.isoformat(),
        }
        run = msgspec.json.encode(head) + b"\n" + self._rest
        return Future(msgspec.msgpack.encode(worker_tasks.Outcome(0, run, "")))


def conduct(study: Study, client: Client, results: Path, plan: Path, piece: int) -> None:
    """Carry out the plan; a line for each ``piece`` of the runs."""
    process, start, told = psutil.Process(), time.monotonic(), 0

    def tell(conductor: Conductor) -> None:
        nonlocal start, told
        if conductor.came >= told + piece:
            now = time.monotonic()
            each = (now - start) / (conductor.came - told)
            megabytes = process.memory_info().rss / 2**20
            study.add({"runs": conductor.came, "seconds each": each, "resident MB": round(megabytes)})
            study.say(f"{conductor.came:,} runs: {1e3 * each:.1f} ms each, {megabytes:.0f} MB")
            start, told = now, conductor.came

    def say(text: str) -> None:
        if "failed" in text:
            sys.exit(text)

    there = Opened(client, lambda: len(client.nthreads()), {}, rented=False)
    conductor = Conductor(there, jobs_of(read_plan(plan), plan.parent), results, Journal(results), say, tell)
    gone = conductor.run()
    study.add({"came": conductor.came, "failed": conductor.failed, "gone": gone})


def judge(pieces: list[dict], asked: int) -> dict:
    """Return the verdict: every run is there once, and what a run costs does not grow with their number."""
    steps = [piece for piece in pieces if "runs" in piece]
    each = [piece["seconds each"] for piece in steps]
    (came,) = (piece["came"] for piece in pieces if "came" in piece)
    (again,) = (piece for piece in pieces if "read again" in piece)
    grown = each[-1] / each[0]
    return {
        "passed": came == again["read again"] == asked == MACHINES * JOBS and grown < 2,
        "goal": f"{MACHINES * JOBS:,} runs of {MACHINES:,} machines come home once, the last as fast as the first",
        "measured": f"{came:,} runs, {1e3 * median(each):.1f} ms each (the last {grown:.2f} times the first), at most "
        f"{max(piece['resident MB'] for piece in steps)} MB; to read all again when the fleet goes on: "
        f"{again['seconds']:.0f} s",
    }


if __name__ == "__main__":
    main()
