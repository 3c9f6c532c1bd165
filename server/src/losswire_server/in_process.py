"""The service without a server. ``losswire_client.testing`` finds it by its entry point and puts it behind a client."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import grpc
from prometheus_client import CollectorRegistry

from losswire_server.backend import Backend
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.limits import Account, CallerLimits
from losswire_server.errors import to_status, trailers
from losswire_server.settings import Settings
from losswire_server.tracing.call_trace import tracing_of

T = TypeVar("T")
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
NAME = "in-process"  # of the one caller that all calls have


class CallFailedError(grpc.RpcError):
    """A failed call, as a gRPC stub would raise it."""

    def __init__(self, code: grpc.StatusCode, details: str | None, trailing_metadata: Any = ()) -> None:
        super().__init__(details)
        self._status = code, details or "", trailing_metadata

    def code(self) -> grpc.StatusCode:
        return self._status[0]

    def details(self) -> str:
        return self._status[1]

    def trailing_metadata(self) -> Any:
        return self._status[2]


class InProcess:
    """Answers the bytes of requests as a server with these settings would, in a thread of this process.

    Args:
        settings: Any of ``losswire_server.Settings`` that are not about sockets.

    Attributes:
        registry: Its metrics.
    """

    def __init__(self, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        chosen = Settings(**{"shared_memory_bytes": 0, **settings})
        self._tracing = tracing_of(chosen)
        self._backend = Backend(chosen, self.registry)
        self._backend.open_runs()
        self._backend.load_heads()
        self._account = Account(CallerLimits.of(chosen))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="losswire-in-process", daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._backend.start)

    def call(self, method: str, request: Any, timeout: float, metadata: Metadata = ()) -> Any:
        """Answers one message with the RPC of that name.

        Raises:
            CallFailedError: As the server would answer.
        """

        async def answer(caller: Caller) -> Any:
            return await self._method(method)(request, caller)

        return self._wait(self._traced(method, answer, timeout, metadata), timeout)

    def stream(
        self,
        method: str,
        requests: Iterable[bytes],
        timeout: float,
        metadata: Metadata = (),
        *,
        take: Callable[[Any], object] = lambda _: None,
    ) -> list[Any]:
        """Answers many messages with the RPC of that name, and hands in each answer as it comes.

        Raises:
            CallFailedError: As the server would answer.
        """

        async def answers(caller: Caller) -> list[Any]:
            found = []
            async for answer in self._method(method)(_each(requests), caller):
                take(answer)
                found.append(answer)
            return found

        return self._wait(self._traced(method, answers, timeout, metadata), timeout)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._backend.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _method(self, name: str) -> Any:
        """The RPC of that name, of any service."""
        services = self._backend.service, self._backend.run_service, self._backend.head_service
        return getattr(next(service for service in services if hasattr(service, name)), name)

    async def _traced(
        self, method: str, answer: Callable[[Caller], Awaitable[T]], timeout: float, metadata: Metadata
    ) -> T:
        """Awaits an answer, and raises the error that the edge of a server would send."""
        trace, start = self._tracing.begin(method, _Context(metadata), NAME), time.perf_counter()
        recording = self._backend.stages.recording(trace.recording)
        caller = Caller(NAME, time.monotonic() + timeout, self._account, NAME, recording=recording)
        code, failure = grpc.StatusCode.CANCELLED, None
        try:
            answered = await answer(caller)
            code = grpc.StatusCode.OK
        except Exception as error:
            status, failure = to_status(error), error
            code = status.code
            raise CallFailedError(code, status.details, trailers(error, status)) from error
        finally:
            trace.end(code, time.perf_counter() - start, error=failure)
        return answered

    def _wait(self, answer: Coroutine[Any, Any, T], timeout: float) -> T:
        future = asyncio.run_coroutine_threadsafe(answer, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            future.cancel()
            raise CallFailedError(grpc.StatusCode.DEADLINE_EXCEEDED, "too late") from error


class _Context(NamedTuple):
    """What a trace is told of a call."""

    metadata: Metadata

    def invocation_metadata(self) -> Metadata:
        return self.metadata


async def _each(requests: Iterable[bytes]) -> AsyncIterator[bytes]:
    for request in requests:
        await asyncio.sleep(0)  # other calls have their turn, as between messages from a network
        yield request
