"""The client of a fleet: it reads results of workers as data, opens no pickle from them, and checks what it saves."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from distributed import Client, Future
from distributed.protocol.pickle import dumps

from ..results.importing import LeftOutError, take_run
from ..results.records import RunEnd, RunHeader
from .status import answered
from .worker_tasks import Outcome

FAILED = "its worker died several times, or raised an error, which is not read here; see the worker's own log"
UNABLE = (
    "it has ended, or its ganbench is missing or has no fleet: run 'pip install ganbench' on that machine, then start "
    "its worker again"
)
ANSWER_S = 30.0  # for a worker to answer


class DataClient(Client):
    """A client that reads plain data only: no result that is a pickle, and no exception, which is always a pickle."""

    def __init__(self, address: Any, **options: Any) -> None:
        super().__init__(address, deserializers=["msgpack", "error"], **options)  # type: ignore[no-untyped-call]

    def _handle_task_erred(self, key: Any = None, exception: Any = None, traceback: Any = None) -> None:
        super()._handle_task_erred(key=key, exception=FAILED, traceback=None)  # type: ignore[no-untyped-call]

    def ask(self, function: Callable[..., bytes | None], *arguments: Any, workers: Sequence[str]) -> dict[str, Any]:
        """Run a function on every worker; return by worker its result, or a text with the reason why there is none.

        ``Client.run`` would open the pickle of a worker's exception, and wait for ever for a stopped worker.
        """
        return self.sync(self._ask_all, function, arguments, workers)  # type: ignore[no-untyped-call, no-any-return]

    async def _ask_all(self, function: Any, arguments: Any, workers: Sequence[str]) -> dict[str, Any]:
        said = await asyncio.gather(*(self._ask(function, arguments, worker) for worker in workers))
        return dict(zip(workers, said, strict=True))

    async def _ask(self, function: Any, arguments: Any, worker: str) -> Any:
        scheduler: Any = self.scheduler
        asked = {"function": dumps(function), "args": dumps(arguments), "kwargs": dumps({})}
        answer = scheduler.broadcast(
            msg={"op": "run", "wait": True} | asked, workers=[worker], nanny=False, on_error="return_pickle"
        )
        try:
            said = (await asyncio.wait_for(answer, ANSWER_S)).get(worker)
        except TimeoutError:
            return f"it did not answer within {ANSWER_S:g} s: start this worker again"
        if not isinstance(said, dict):  # a pickle: the exception that kept the function from starting
            return UNABLE
        return said.get("result") if said.get("status") == "OK" else str(said.get("exception_text"))


def outcome_of(future: Future[bytes]) -> Outcome:
    """Return what a worker sent.

    Raises ``LeftOutError`` where its task failed, ``MsgspecError`` where it sent something else, ``OSError`` without a
    scheduler.
    """
    if future.status == "cancelled":
        raise ConnectionError("the scheduler cancelled it")
    if future.status != "finished":
        raise LeftOutError(str(future.exception()))
    try:
        content = future.result()
    except TypeError as error:  # a pickle, which the client does not open
        raise LeftOutError("the worker sent a pickle instead of plain data, so its result was refused") from error
    return msgspec.msgpack.decode(content, type=Outcome)


def save_run(outcome: Outcome, results: Path, machine: str, asked: str) -> str:
    """Check a run from a machine, and save it; return its id. ``asked`` is the hash of what its job asks.

    Raises ``LeftOutError`` with the fault of the run.
    """
    said = [line for line in outcome.said.splitlines() if line.strip()]
    if not outcome.run:
        raise LeftOutError(" / ".join(said[-3:]) or f"ganbench compare ended with code {outcome.code} and no message")

    def fits(header: RunHeader, last: object) -> str:
        if header.machine != machine:
            return f"its file names another machine, {header.machine}"
        if not isinstance(last, RunEnd):
            return "it was not finished"
        return "" if answered(header) == asked else "its settings are not those of its job"

    try:
        return take_run(outcome.run, results, fits).stem
    except LeftOutError as error:
        if outcome.code and said:
            raise LeftOutError(f"{error}; it ended with: {said[-1]}") from error
        raise
