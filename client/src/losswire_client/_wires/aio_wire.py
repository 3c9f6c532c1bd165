"""The calls of the contract, made and awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, closed, late, leaving, translated
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._wires.endpoint import SERVICE, Endpoint
from losswire_client._wires.fork import PROCESS

T = TypeVar("T")


class AioWire:
    """A channel of the running event loop, which is where it may be used. Whatever fails raises errors of the tree."""

    is_broken = False

    def __init__(self, endpoint: Endpoint) -> None:
        PROCESS.use_aio(self)
        self._endpoint = endpoint
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._channel = endpoint.open(grpc.aio)
        self._stub: Any = LossServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._evaluate_stream = self._channel.stream_stream(f"/{SERVICE}/EvaluateStream")  # of bytes, as in Wire

    async def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        answer: v1.EvaluateResponse = await self._answer(self._stub.Evaluate, request, deadline)
        return answer

    async def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse:
        request = v1.GetCapabilitiesRequest()
        answer: v1.GetCapabilitiesResponse = await self._answer(self._stub.GetCapabilities, request, deadline)
        return answer

    async def check_health(self, deadline: Deadline) -> float:
        """Seconds that the answer took."""
        start = time.perf_counter()
        answer = await self._answer(self._health.Check, health_pb2.HealthCheckRequest(service=SERVICE), deadline)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise leaving(self._endpoint.name)
        return time.perf_counter() - start

    async def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        with self._calling(deadline):
            messages, metadata = _awaited(stream.messages()), self._endpoint.metadata()
            call = self._evaluate_stream(messages, timeout=deadline.remaining(), metadata=metadata)
            try:
                async for message in call:
                    stream.take(message)
            except grpc.RpcError as error:
                # To grpc.aio it is an internal error if the deadline comes while a message is being sent.
                if error.code() is grpc.StatusCode.INTERNAL and not deadline.remaining():
                    raise late(self._endpoint.name, deadline.seconds) from error
                raise
            finally:
                call.cancel()

    async def lease(self, size: int, deadline: Deadline) -> Region:
        """Memory that is ours as long as the call lasts, which therefore has no timeout of its own."""
        with self._calling(deadline):
            request, metadata = v1.LeaseSharedMemoryRequest(size_bytes=size), self._endpoint.metadata()
            call = self._stub.LeaseSharedMemory(request, metadata=metadata)
            try:
                lease = self._checked(await asyncio.wait_for(call.read(), deadline.remaining()))
                return Region(lease, lambda: not call.done(), partial(self._in_loop, call.cancel))
            except BaseException:
                call.cancel()
                raise

    async def work(self, function: Callable[..., T], *arguments: object) -> T:
        """Does what takes long without any I/O, and without holding up the event loop."""
        return await asyncio.to_thread(function, *arguments)

    async def close(self) -> None:
        self._closed = True
        await self._channel.close()
        PROCESS.leave_aio(self)

    async def _answer(self, method: Callable[..., Awaitable[T]], request: object, deadline: Deadline) -> T:
        with self._calling(deadline):
            answer = method(request, timeout=deadline.remaining(), metadata=self._endpoint.metadata())
            if PROCESS.is_child:  # where grpc.aio hangs, past its own timeout, if others were using it
                answer = asyncio.wait_for(answer, deadline.remaining())
            return await answer

    @contextmanager
    def _calling(self, deadline: Deadline) -> Iterator[None]:
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

    def _checked(self, lease: v1.LeaseSharedMemoryResponse | object) -> v1.LeaseSharedMemoryResponse:
        if isinstance(lease, v1.LeaseSharedMemoryResponse):
            return lease
        raise leaving(self._endpoint.name)  # which is when it ends such calls

    def _in_loop(self, function: Callable[[], object]) -> None:
        """Calls from wherever arrays are collected."""
        with suppress(RuntimeError):  # the loop is closed, and so the call is over
            self._loop.call_soon_threadsafe(function)


async def _awaited(messages: Iterable[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message
