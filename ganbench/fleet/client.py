"""The client of a fleet: what comes home from workers is data, and no pickle of theirs is opened."""

from typing import Any

from distributed import Client

FAILED = "it failed on its worker in a way that is not told here, or its worker died again and again"


class DataClient(Client):
    """A client that opens plain data only: not a result that is a pickle, and not an exception, which always is one."""

    def __init__(self, address: Any, **options: Any) -> None:
        super().__init__(address, deserializers=["msgpack", "error"], **options)  # type: ignore[no-untyped-call]

    def _handle_task_erred(self, key: Any = None, exception: Any = None, traceback: Any = None) -> None:
        super()._handle_task_erred(key=key, exception=FAILED, traceback=None)  # type: ignore[no-untyped-call]
