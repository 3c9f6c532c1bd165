"""The calls of the contract, made and awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

import grpc

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, StreamEndedError, closed, late, leaving
from losswire_client._failures.statuses import translated
from losswire_client._tracing.active import Metadata
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._transports.upload import Upload
from losswire_client._transports.wire import Wire
from losswire_client._wires.channel_wire import REGISTER, WATCH, ChannelWire
from losswire_client._wires.coalescing_tasks import CoalescingTasks
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.fork import PROCESS

CUT_SHORT = "Internal error from Core"  # as grpc.aio says it if a call ends while a message is being sent

P = ParamSpec("P")
T = TypeVar("T")


class AioWire(ChannelWire):
    """A channel of the running event loop, which is where it may be used."""

    def __init__(self, endpoint: Endpoint) -> None:
        PROCESS.use_aio(self)
        super().__init__(endpoint, grpc.aio)
        self._loop = asyncio.get_running_loop()
        self._coalescing = CoalescingTasks(endpoint.name)

    async def evaluate_with_others(
        self, request: bytes, served: Capabilities, deadline: Deadline
    ) -> v1.EvaluateResponse:
        return await self._coalescing.evaluate(request, served, deadline, self.evaluate_together)

    async def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        with self._calling("EvaluateStream", deadline) as metadata:
            messages = _awaited(stream.messages())
            call = self._evaluate_stream(messages, timeout=deadline.remaining(), metadata=metadata)
            async with self._streaming(call, deadline):
                async for message in call:
                    stream.take(message)

    async def register_head(self, upload: Upload, deadline: Deadline) -> None:
        answered = asyncio.Event()
        with self._calling(REGISTER, deadline) as metadata:
            messages = _messages(upload, answered)
            call = self._register_head(messages, timeout=deadline.remaining(), metadata=metadata)
            async with self._streaming(call, deadline):
                async for answer in call:
                    upload.take(answer)
                    answered.set()

    async def lease(self, size: int, deadline: Deadline) -> Region:
        """Memory that is ours as long as the call lasts, which therefore has no timeout of its own."""
        with self._calling("LeaseSharedMemory", deadline) as metadata:
            request = v1.LeaseSharedMemoryRequest(size_bytes=size)
            call = self._stub.LeaseSharedMemory(request, metadata=metadata)
            try:
                lease = self._checked(await asyncio.wait_for(call.read(), deadline.remaining()))
                return Region(lease, lambda: not call.done(), partial(self._in_loop, call.cancel))
            except BaseException:
                call.cancel()
                raise

    async def watch_run(
        self, request: v1.WatchRunRequest, deadline: Deadline
    ) -> AsyncGenerator[v1.WatchRunResponse, None]:
        with self._calling(WATCH, deadline) as metadata:
            call = self._run_stub.WatchRun(request, metadata=metadata)
        try:
            with self._failing(deadline):
                answer = await asyncio.wait_for(call.read(), deadline.remaining())
            while answer is not grpc.aio.EOF:
                yield answer
                with self._failing(deadline):
                    answer = await call.read()
        finally:
            call.cancel()

    async def work(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Does not hold up the event loop."""
        return await asyncio.to_thread(function, *arguments, **keywords)

    async def wait(self, future: "Future[None]", seconds: float) -> bool:
        done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=seconds)
        return bool(done)

    async def close(self) -> None:
        self._closed = True
        await self._channel.close()
        PROCESS.leave_aio(self)
        await self._coalescing.close()

    async def _answer(self, name: str, method: Callable[..., Any], request: object, deadline: Deadline) -> Any:
        with self._calling(name, deadline, request) as metadata:
            answer = method(request, timeout=deadline.remaining(), metadata=metadata)
            if PROCESS.is_child:  # where grpc.aio hangs, past its own timeout, if others were using it
                answer = asyncio.wait_for(answer, deadline.remaining())
            return await answer

    @contextmanager
    def _calling(self, name: str, deadline: Deadline, message: object = None) -> Iterator[Metadata | None]:
        """Surrounds a call of the method of that name. Gives the metadata to send with it."""
        with self._traced(name, message) as metadata, self._failing(deadline):
            yield metadata

    @contextmanager
    def _failing(self, deadline: Deadline) -> Iterator[None]:
        """Raises errors of the tree."""
        try:
            with translated(self._endpoint.name, deadline.seconds):
                yield
        except TimeoutError as error:
            if isinstance(error, LosswireError):
                raise
            raise late(self._endpoint.name, deadline.seconds) from error
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:  # as grpcio says it when the channel is closed
            task = asyncio.current_task()
            if not self._closed or (task and task.cancelling()):
                raise
            raise closed() from error

    @asynccontextmanager
    async def _streaming(self, call: Any, deadline: Deadline) -> AsyncGenerator[None, None]:
        """Surrounds the answers of a stream, and ends it."""
        try:
            yield
        except grpc.RpcError as error:
            if error.details() != CUT_SHORT:
                raise
            raise self._cut_short(deadline) from error
        finally:
            call.cancel()

    def _cut_short(self, deadline: Deadline) -> LosswireError:
        if not deadline.remaining():
            return late(self._endpoint.name, deadline.seconds)
        return StreamEndedError("the server ended the stream amid a message", grpc.StatusCode.INTERNAL)

    def _checked(self, lease: v1.LeaseSharedMemoryResponse | object) -> v1.LeaseSharedMemoryResponse:
        if isinstance(lease, v1.LeaseSharedMemoryResponse):
            return lease
        raise leaving(self._endpoint.name)  # which is when it ends such calls

    def _in_loop(self, function: Callable[[], object]) -> None:
        """Calls from wherever arrays are collected."""
        with suppress(RuntimeError):  # the loop is closed, and so the call is over
            self._loop.call_soon_threadsafe(function)


_: type[Wire] = AioWire  # which mypy refuses if a call is missing


async def _awaited(messages: Iterable[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def _messages(upload: Upload, answered: asyncio.Event) -> AsyncIterator[bytes]:
    """The messages of a head: the first answer says which they are."""
    yield upload.header()
    await answered.wait()
    for message in upload.parts():
        yield message
