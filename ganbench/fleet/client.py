"""The client of a fleet on dask: it reads results of workers as data, and opens no pickle from them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client
from distributed.protocol.pickle import dumps

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
