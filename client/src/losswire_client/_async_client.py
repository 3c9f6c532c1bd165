"""The client whose calls are awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import numpy.typing as npt

from losswire_client._base import Base
from losswire_client._calls import checks_call
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError
from losswire_client._flow import Flow, one_step, run_async
from losswire_client._many.batches import ASYNC_ITERABLE, Batch, Coming, check_map, evaluator
from losswire_client._many.chunks import (
    Chunk,
    Preparation,
    Prepared,
    Settled,
    all_attempted,
    chunk_size,
    evaluate_in_awaited_chunks,
)
from losswire_client._many.map import checked_window, evaluate_in_tasks
from losswire_client._many.progress import shown_async, wants_bar
from losswire_client._request.evaluation import Common, Evaluation, Options
from losswire_client._result import Result
from losswire_client._retry import PASSING, once_failed_async
from losswire_client._wires.aio_wire import AioWire
from losswire_client._wires.coalescing_aio_wire import CoalescingAioWire
from losswire_client._wires.connection import Connection

T = TypeVar("T")


class AsyncClient(Base[Coroutine[Any, Any, Result], AioWire]):
    """`Client`, awaited: the same arguments, results and errors.

    Any number of tasks may use it at once, and, one after another, several event loops: each has a connection of its
    own. An evaluation that is cancelled is given up by the server too. To be closed before a fork, as a warning says:
    gRPC may end the children of a process that is using it.
    """

    @checks_call
    async def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """As `Client.capabilities`."""
        return await self._run(self._session.capabilities, timeout)

    @checks_call
    async def ping(self, *, timeout: float | None = None) -> float:
        """As `Client.ping`."""
        seconds: float = await self._run(partial(one_step, "check_health"), timeout)
        return seconds

    @checks_call
    async def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, timeout: float | None = None
    ) -> npt.NDArray[Any]:
        """As `Client.empty`."""
        return await self._attempt(partial(self._session.empty, shape, dtype), self._deadline(timeout))

    @checks_call
    def map(
        self,
        batches: Coming[Batch],
        *,
        loss: str = "cross_entropy",
        window: int = 32,
        progress: bool = False,
        **options: Any,
    ) -> AsyncIterator[Result]:
        """As `Client.map`, for ``async for``; what gives the batches may be asynchronous too."""
        check_map(self, loss, options, batches, ASYNC_ITERABLE)
        results = self._map(evaluator(self, loss, options), batches, checked_window(window), loss, options)
        return shown_async(results, batches) if wants_bar(progress) else results

    async def close(self) -> None:
        """As `Client.close`."""
        self._session.close()
        for wire in self._connection.close():
            await wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _map(
        self,
        evaluate: Callable[[Batch], Coroutine[Any, Any, Result]],
        batches: Coming[Batch],
        window: int,
        loss: str,
        options: dict[str, Any],
    ) -> AsyncGenerator[Result, None]:
        timeout = options.get("timeout")
        most = self._coalesce and await self._run(partial(one_step, "max_requests"), timeout)
        if most:
            evaluate_chunk = partial(self._evaluate_chunk, evaluator(Preparation(self), loss, options), timeout)
            results = evaluate_in_awaited_chunks(evaluate_chunk, batches, window, chunk_size(window, most))
        else:
            results = evaluate_in_tasks(evaluate, batches, window)
        async with aclosing(results):
            async for result in results:
                yield result

    async def _evaluate_chunk(
        self, prepare: Callable[[Batch], Prepared], timeout: float | None, batches: Sequence[Batch]
    ) -> Settled:
        chunk = Chunk(prepare, batches, timeout)
        if chunk.requests:
            send = partial(one_step, "evaluate_together", chunk.requests)
            with chunk.sending():
                chunk.take(await self._attempt(send, self._deadline(timeout)))
        return chunk.settled(await all_attempted(self._evaluate_prepared, chunk.left()))

    async def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Result:
        timeout = common.pop("timeout", None)
        return await self._evaluate_prepared(Prepared(put_together(**cast(Options, common)), timeout))

    async def _evaluate_prepared(self, prepared: Prepared) -> Result:
        return await self._run(partial(self._session.evaluate, prepared.evaluation), prepared.timeout)

    async def _run(self, flow_by: Callable[[Deadline], Flow[T]], timeout: float | None) -> T:
        deadline = self._deadline(timeout)
        try:
            return await self._attempt(flow_by, deadline)
        except PASSING as error:
            return await self._retries(deadline).awaiting()(once_failed_async(self._attempt, error), flow_by, deadline)

    async def _attempt(self, flow_by: Callable[[Deadline], Flow[T]], deadline: Deadline) -> T:
        return await run_async(flow_by(deadline), self._connection.wire())

    def _new_connection(self) -> Connection[AioWire]:
        return Connection(self._endpoint, CoalescingAioWire if self._coalesce else AioWire, _running_loop)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise LosswireError("AsyncClient is awaited in a running event loop of asyncio, and here is none") from error
