"""Work beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from losswire_server.calls.admission import Admission

T = TypeVar("T")


class Workers:
    """Does work in the executor's threads. Its message is in flight from when it waits until it is done."""

    def __init__(self, admission: Admission, executor: Executor) -> None:
        self._admission = admission
        self._executor = executor

    async def do(self, work: Callable[[], T], message_bytes: int) -> T:
        """Does work in its turn. If the caller leaves before, it is never done.

        Raises:
            OverloadedError: Too much is in flight.
        """
        self._admission.reserve(message_bytes)
        future = self._executor.submit(work)
        # Not in a `finally` here: if the caller leaves, the memory is in use until the executor is done with it.
        future.add_done_callback(lambda _: self._admission.release(message_bytes))
        return await asyncio.wrap_future(future)
