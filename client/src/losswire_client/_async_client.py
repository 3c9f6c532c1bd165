"""The client whose calls are awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy.typing as npt

from losswire import v1
from losswire_client._base import NO_HEADS, Base
from losswire_client._calls import checks_call
from losswire_client._capabilities import Capabilities
from losswire_client._errors import LosswireError
from losswire_client._heads.calls import Heads
from losswire_client._heads.surface import AsyncHeadMethods
from losswire_client._many.batches import ASYNC_ITERABLE, Batch, Coming, check_map, evaluator
from losswire_client._many.chunks import Preparation, chunk_size, evaluate_in_awaited_chunks
from losswire_client._many.map import checked_window, evaluate_in_tasks
from losswire_client._many.progress import shown_async, wants_bar
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.options import Common
from losswire_client._result import Result
from losswire_client._runs.async_run import AsyncRun, Opening
from losswire_client._runs.creation import check_local, creation
from losswire_client._runs.results import RunProgress
from losswire_client._wires.aio_wire import AioWire
from losswire_client._wires.connection import Connection

S = TypeVar("S")
T = TypeVar("T")


class AsyncClient(AsyncHeadMethods, Base[Coroutine[Any, Any, Result]]):
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
        return await self._run(self._session.ping, timeout)

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

    @checks_call
    def run(
        self,
        name: str,
        *,
        loss: str = "cross_entropy",
        by_class: bool = False,
        labels: Mapping[str, str] | None = None,
        expected_keys: int | None = None,
        accuracy: bool = True,
        series: str = "",
        timeout: float | None = None,
        **options: Any,
    ) -> Opening:
        """As `Client.run`: ``run = await client.run(...)``, or ``async with client.run(...) as run``."""
        check_local(accuracy, series)
        request, heads = creation(self, name, loss, by_class, labels, expected_keys, options)
        return self._opening(partial(self._runs.create, request, timeout), accuracy, series, heads)

    @checks_call
    def get_run(self, name: str, *, accuracy: bool = True, series: str = "", timeout: float | None = None) -> Opening:
        """As `Client.get_run`, awaited or entered like `run`."""
        check_local(accuracy, series)
        return self._opening(partial(self._runs.get, name, timeout, totals_only=True), accuracy, series)

    @checks_call
    def runs(self, prefix: str = "", *, timeout: float | None = None) -> AsyncIterator[RunProgress]:
        """As `Client.runs`, for ``async for``."""
        return self._runs.list_runs(prefix, timeout)

    async def close(self) -> None:
        """As `Client.close`."""
        await self._close()

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
        most = await self._max_requests(timeout)
        if most:
            evaluate_chunk = partial(self._evaluate_chunk, evaluator(Preparation(self), loss, options), timeout)
            results = evaluate_in_awaited_chunks(evaluate_chunk, batches, window, chunk_size(window, most))
        else:
            results = evaluate_in_tasks(evaluate, batches, window)
        async with aclosing(results):
            async for result in results:
                yield result

    def _opening(
        self, ask: Callable[[], Coroutine[Any, Any, v1.Run]], accuracy: bool, series: str, heads: Heads = NO_HEADS
    ) -> Opening:
        async def open_run() -> AsyncRun:
            return AsyncRun(self, await ask(), accuracy=accuracy, series=series, heads=heads)

        return Opening(open_run)

    async def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Result:
        return await self._put_together_and_evaluate(put_together, common)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _each(self, function: Callable[[S], Awaitable[T]], arguments: Iterable[S]) -> list[T]:
        return await asyncio.gather(*map(function, arguments))

    def _new_connection(self) -> Connection:
        return Connection(self._endpoint, AioWire, _running_loop)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise LosswireError("AsyncClient needs a running event loop of asyncio, and there is none here") from error
