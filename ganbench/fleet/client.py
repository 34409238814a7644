"""The client of a fleet: what comes home from workers is data, and no pickle of theirs is opened."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client
from distributed.protocol.pickle import dumps

FAILED = "it failed on its worker in a way that is not told here, or its worker died again and again"
UNABLE = (
    "it is gone, or it has no ganbench that knows fleets: on that machine pip install ganbench, then start its worker "
    "again"
)
ANSWER_S = 30.0  # for a worker that is asked, beside what it does


class DataClient(Client):
    """A client that opens plain data only: not a result that is a pickle, and not an exception, which always is one."""

    def __init__(self, address: Any, **options: Any) -> None:
        super().__init__(address, deserializers=["msgpack", "error"], **options)  # type: ignore[no-untyped-call]

    def _handle_task_erred(self, key: Any = None, exception: Any = None, traceback: Any = None) -> None:
        super()._handle_task_erred(key=key, exception=FAILED, traceback=None)  # type: ignore[no-untyped-call]

    def ask(self, function: Callable[..., bytes | None], *arguments: Any, workers: Sequence[str]) -> dict[str, Any]:
        """Return by worker what a function returns there, beside what the worker does, or a text that says why not.

        ``Client.run`` would open what a worker sends as its exception, and wait for a stopped worker for ever.
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
            return f"it did not answer within {ANSWER_S:g} s: start it again"
        if not isinstance(said, dict):  # a pickle, of what kept it from even beginning
            return UNABLE
        return said.get("result") if said.get("status") == "OK" else str(said.get("exception_text"))
