"""The run whose calls are awaited."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from losswire_client._calls import checks_call
from losswire_client._result import Result
from losswire_client._runs.base_run import BaseRun
from losswire_client._runs.results import RunKey, RunProgress, RunResult, to_progress, to_result
from losswire_client._runs.surface import BatchOptions


class AsyncRun(BaseRun[Coroutine[Any, Any, Result]]):
    """`Run`, awaited: the same arguments, results and errors. `AsyncClient.run` makes one."""

    @checks_call
    async def missing(self, keys: Iterable[str], *, timeout: float | None = None) -> list[str]:
        """As `Run.missing`."""
        return await self._calls.missing(self.name, keys, timeout)

    @checks_call
    def keys(self, slice: str | None = None, *, timeout: float | None = None) -> AsyncIterator[RunKey]:
        """As `Run.keys`, for ``async for``."""
        return self._calls.list_keys(self.name, slice, timeout)

    @checks_call
    async def progress(self, *, timeout: float | None = None) -> RunProgress:
        """As `Run.progress`."""
        return to_progress(await self._calls.get(self.name, timeout, totals_only=True))

    @checks_call
    def watch(self, interval: float = 1.0, *, timeout: float | None = None) -> AsyncIterator[RunProgress]:
        """As `Run.watch`, for ``async for``."""
        return self._calls.watch(self.name, interval, timeout)

    @checks_call
    async def result(self, *, timeout: float | None = None) -> RunResult:
        """As `Run.result`."""
        return to_result(await self._calls.get(self.name, timeout))

    @checks_call
    async def finish(
        self, keys: Iterable[str] | None = None, count: int | None = None, *, timeout: float | None = None
    ) -> RunResult:
        """As `Run.finish`."""
        return to_result(await self._calls.finish(self.name, keys, count, timeout))

    @checks_call
    async def delete(self, *, timeout: float | None = None) -> None:
        """As `Run.delete`."""
        await self._calls.delete(self.name, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends nothing: see `Run`."""

    async def _add(
        self,
        loss: str | None,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        key: str,
        classes: Mapping[str, npt.ArrayLike | None],
        batch: BatchOptions,
    ) -> Result:
        return await self._evaluate_keyed(loss, input, target, key, classes, batch)


class Opening(Awaitable[AsyncRun]):
    """A run to come: ``await`` it, or enter it by ``async with``, where the end of the block ends nothing.

    Args:
        open_run: Asks the server for the run.
    """

    def __init__(self, open_run: Callable[[], Coroutine[Any, Any, AsyncRun]]) -> None:
        self._open_run = open_run

    def __await__(self) -> Generator[Any, Any, AsyncRun]:
        return self._open_run().__await__()

    if not TYPE_CHECKING:  # else checkers of types would let a forgotten await pass

        def __getattr__(self, name: str) -> None:
            problem = f"a run to come has no {name!r}: await it, as in `run = await client.run(...)`"
            raise AttributeError(problem, name=name, obj=self)

    async def __aenter__(self) -> AsyncRun:
        return await self._open_run()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends nothing: see `Run`."""
