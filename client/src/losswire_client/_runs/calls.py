"""The calls of RunService, written once for clients that wait and clients that are awaited."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import aclosing, suppress
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from losswire import v1
from losswire_client._capabilities import RunLimits
from losswire_client._deadline import Deadline, checked_interval
from losswire_client._errors import NotFoundError, PreconditionError, UnavailableError, invalid_argument, shown
from losswire_client._request.fields import assign_text
from losswire_client._retry import PASSING
from losswire_client._runs.results import RunKey, RunProgress, to_key, to_progress
from losswire_client._transports.wire import Flow, Wire

T = TypeVar("T")

USUAL_KEYS = 1000  # in a request, for a server that does not tell: it keeps no runs, and says so to the request


class Send(Protocol):
    """Does a flow within a timeout, with the client's retries."""

    def __call__(self, flow: Flow[T], timeout: float | None, /) -> Coroutine[Any, Any, T]: ...


class RunCalls:
    """The calls of one client. All of them may be sent again.

    Args:
        send: Does what a call does.
        limits: The server's limits of runs.
        sleep: Pauses for some seconds.
    """

    def __init__(self, send: Send, limits: Flow[RunLimits | None], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._send = send
        self._limits = limits
        self._sleep = sleep

    async def create(self, request: v1.CreateRunRequest, timeout: float | None) -> v1.Run:
        run: v1.Run = (await self._call("CreateRun", request, timeout)).run
        return run

    async def get(self, name: str, timeout: float | None, *, totals_only: bool = False) -> v1.Run:
        request = v1.GetRunRequest(totals_only=totals_only)
        assign_text(request, "name", name)
        run: v1.Run = (await self._call("GetRun", request, timeout)).run
        return run

    def list_runs(self, prefix: str, timeout: float | None) -> AsyncGenerator[RunProgress, None]:
        """Runs, page by page. A wrong argument is refused at once, as by `list_keys` and `watch`."""
        if not _is_text(prefix):
            raise invalid_argument("prefix", f"expected a text, got {shown(prefix)}")
        pages = self._pages("ListRuns", v1.ListRunsRequest(name_prefix=prefix), timeout)
        return _each(pages, lambda page: map(to_progress, page.runs))

    def list_keys(self, name: str, slice: str | None, timeout: float | None) -> AsyncGenerator[RunKey, None]:
        request = v1.ListRunKeysRequest(name=name)
        if slice is not None:
            assign_text(request, "slice", slice)
        return _each(self._pages("ListRunKeys", request, timeout), lambda page: map(to_key, page.keys))

    async def missing(self, name: str, keys: Iterable[str], timeout: float | None) -> list[str]:
        """Those of any number of keys that a run lacks."""
        most, found = await self._most_keys(timeout), list[str]()
        for some in _chunks(_each_key(keys), most):
            answer = await self._call("FindMissingKeys", v1.FindMissingKeysRequest(name=name, keys=some), timeout)
            found += answer.missing
        return found

    async def finish(self, name: str, keys: Iterable[str] | None, count: int | None, timeout: float | None) -> v1.Run:
        if keys is not None and count is not None:
            raise invalid_argument("count", "expected keys or their count, got both")
        request = v1.FinishRunRequest(name=name)
        if keys is not None:
            await self._expect(request, list(dict.fromkeys(_each_key(keys))), timeout)
        elif count is not None:
            expect_count(request, "key_count", "count", count)
        run: v1.Run = (await self._call("FinishRun", request, timeout)).run
        return run

    async def delete(self, name: str, timeout: float | None) -> None:
        """Deletes a run. That it is not there is no error after an attempt whose answer was lost."""
        request, may_be_gone = v1.DeleteRunRequest(name=name), False

        async def attempt(wire: Wire, deadline: Deadline) -> None:
            nonlocal may_be_gone
            try:
                await wire.call_runs("DeleteRun", request, deadline)
            except NotFoundError:
                if not may_be_gone:
                    raise
            except PASSING:
                may_be_gone = True
                raise

        await self._send(attempt, timeout)

    def watch(self, name: str, interval: float, timeout: float | None) -> AsyncGenerator[RunProgress, None]:
        """A run as it changes, until it is finished, also over restarts of the server."""
        request = v1.WatchRunRequest(name=name, interval_seconds=checked_interval(interval))
        return self._watch(request, timeout)

    async def _watch(self, request: v1.WatchRunRequest, timeout: float | None) -> AsyncGenerator[RunProgress, None]:
        told = None
        while True:
            async with aclosing(self._watch_once(request, timeout)) as states:
                async for state in states:
                    if state != told:
                        yield (told := state)
            if told and told.is_finished:
                return
            await self._sleep(request.interval_seconds)  # the server has ended the stream

    async def _watch_once(
        self, request: v1.WatchRunRequest, timeout: float | None
    ) -> AsyncGenerator[RunProgress, None]:
        """The states that one call sends: the first with retries, the others until one does not come."""
        first, answers = await self._send(partial(_begin_watch, request), timeout)
        async with aclosing(answers):
            yield to_progress(first.run)
            with suppress(*PASSING):
                async for answer in answers:
                    yield to_progress(answer.run)

    async def _expect(self, request: v1.FinishRunRequest, keys: Collection[str], timeout: float | None) -> None:
        """Has a run finish with exactly these keys, by their number if they are too many for one request."""
        if len(keys) <= await self._most_keys(timeout):
            request.keys.keys.extend(keys)
            request.keys.SetInParent()
            return
        if missing := await self.missing(request.name, keys, timeout):
            error = PreconditionError(f"run {request.name!r} lacks {len(missing):,} of {len(keys):,} keys")
            error.missing = missing
            raise error
        request.key_count = len(keys)

    async def _most_keys(self, timeout: float | None) -> int:
        """The most keys that the server takes in a request."""
        limits = await self._send(self._limits, timeout)
        return (limits and limits.max_request_keys) or USUAL_KEYS

    async def _pages(self, method: str, request: Any, timeout: float | None) -> AsyncGenerator[Any, None]:
        while True:
            page = await self._call(method, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _call(self, method: str, request: Message, timeout: float | None) -> Any:
        return await self._send(lambda wire, deadline: _answer(wire, method, request, deadline), timeout)


def expect_count(request: Any, field: str, argument: str, count: object) -> None:
    """Sets the field with the number of keys that a run is to have."""
    try:
        setattr(request, field, count)
    except (TypeError, ValueError) as error:
        raise invalid_argument(argument, f"expected a number of keys, got {shown(count)}") from error


async def _each(pages: AsyncGenerator[Any, None], read: Callable[[Any], Iterable[T]]) -> AsyncGenerator[T, None]:
    """What is read of each page."""
    async with aclosing(pages):
        async for page in pages:
            for item in read(page):
                yield item


async def _answer(wire: Wire, method: str, request: Message, deadline: Deadline) -> Any:
    return await wire.call_runs(method, request, deadline)


async def _begin_watch(
    request: v1.WatchRunRequest, wire: Wire, deadline: Deadline
) -> tuple[v1.WatchRunResponse, AsyncGenerator[v1.WatchRunResponse, None]]:
    answers = wire.watch_run(request, deadline)
    async for first in answers:
        return first, answers
    raise UnavailableError("the server ended the call without an answer")


def _each_key(keys: Iterable[str]) -> Iterator[str]:
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise invalid_argument("keys", f"expected an iterable of keys, got {shown(keys)}")
    for key in keys:
        if not _is_text(key):
            raise invalid_argument("keys", f"expected texts, got {shown(key)}")
        yield key


def _is_text(value: object) -> bool:
    """Whether it is a text that UTF-8 can write."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _chunks(keys: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(keys, size)):
        yield chunk
