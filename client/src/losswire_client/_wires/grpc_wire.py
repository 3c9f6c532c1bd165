"""The calls of the contract, made and waited for."""

import ctypes
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import grpc
import grpc.experimental

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import CallCancelledError, LosswireError, closed, late, leaving
from losswire_client._failures.statuses import translated
from losswire_client._tracing.active import Metadata
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._transports.upload import Upload
from losswire_client._transports.wire import Wire
from losswire_client._wires.channel_wire import REGISTER, WATCH, ChannelWire
from losswire_client._wires.coalescing_threads import CoalescingThreads
from losswire_client._wires.connection import CLOSING_SECONDS
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.fork import PROCESS

P = ParamSpec("P")
T = TypeVar("T")

# Otherwise a thread polls in gRPC as long as any lease lasts: then gRPC skips what it does at a fork, and the child may
# crash. Without it the end of a lease is noticed when the server refuses the region.
LEASES_TAKE_NO_THREAD = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)


class GrpcWire(ChannelWire):
    """A channel whose calls block. May be used from any thread."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint, grpc, LEASES_TAKE_NO_THREAD)
        self._coalescing = CoalescingThreads(endpoint.name)

    async def evaluate_with_others(
        self, request: bytes, served: Capabilities, deadline: Deadline
    ) -> v1.EvaluateResponse:
        return await self._coalescing.evaluate(request, served, deadline, self.evaluate_together)

    async def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        with self._calling("EvaluateStream", deadline) as metadata:
            messages = stream.messages()
            call = self._begin(self._evaluate_stream, messages, timeout=deadline.remaining(), metadata=metadata)
            try:
                for message in call:
                    stream.take(message)
            finally:
                call.cancel()

    async def register_head(self, upload: Upload, deadline: Deadline) -> None:
        answered = threading.Event()
        with self._calling(REGISTER, deadline) as metadata:
            messages = _messages(upload, answered)
            call = self._begin(self._register_head, messages, timeout=deadline.remaining(), metadata=metadata)
            try:
                for answer in call:
                    upload.take(answer)
                    answered.set()
            finally:
                answered.set()  # the thread that sends must not wait for ever
                call.cancel()

    async def lease(self, size: int, deadline: Deadline) -> Region:
        """Memory that is ours as long as the call lasts. The call therefore has no timeout of its own."""
        with self._calling("LeaseSharedMemory", deadline) as metadata:
            request = v1.LeaseSharedMemoryRequest(size_bytes=size)
            call = self._begin(self._stub.LeaseSharedMemory, request, metadata=metadata)
            with self._answered_by(deadline, call):
                return Region(next(call), call.is_active, partial(_end, call))

    async def watch_run(
        self, request: v1.WatchRunRequest, deadline: Deadline
    ) -> AsyncGenerator[v1.WatchRunResponse, None]:
        with self._calling(WATCH, deadline) as metadata:
            call = self._begin(self._run_stub.WatchRun, request, metadata=metadata)
            with self._answered_by(deadline, call):
                answer = next(call)
        try:
            while answer is not None:
                yield answer
                with self._failing(deadline):  # not amid a call while the caller has the answer
                    answer = next(call, None)
        finally:
            if not self.is_broken:  # else an interrupt may have lost an event
                _end(call)

    async def work(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        return function(*arguments, **keywords)

    async def wait(self, future: "Future[None]", seconds: float) -> bool:
        return bool(futures.wait([future], seconds).done)

    async def close(self) -> None:
        """Ends the calls, and waits no longer than `CLOSING_SECONDS` for gRPC to have ended them."""
        self._closed = True
        closing = threading.Thread(target=self._channel.close, name="losswire-close", daemon=True)
        try:
            closing.start()
        except RuntimeError:  # no thread can be started
            if not self.is_broken:
                self._channel.close()
        else:
            closing.join(0 if self.is_broken else CLOSING_SECONDS)

    def _begin(self, method: Callable[..., T], *arguments: object, **options: object) -> T:
        """Begins a call whose events a gRPC thread delivers. gRPC starts the thread only after the call has begun."""
        check_threads()
        return method(*arguments, **options)

    async def _answer(self, name: str, method: Callable[..., Any], request: object, deadline: Deadline) -> Any:
        with self._calling(name, deadline, request) as metadata:
            return method(request, timeout=deadline.remaining(), metadata=metadata)

    @contextmanager
    def _answered_by(self, deadline: Deadline, call: Any) -> Iterator[None]:
        """Surrounds the first answer of a call without a timeout of its own, and ends the call if that fails."""
        try:
            with _until(deadline, call.cancel):
                yield
        except BaseException as error:
            call.cancel()
            if isinstance(error, Exception):  # else an interrupt may have lost an event
                _take_last_events(call)
            if isinstance(error, StopIteration):
                raise leaving(self._endpoint.name) from error
            if isinstance(error, grpc.RpcError) and not deadline.remaining():
                raise late(self._endpoint.name, deadline.seconds) from error
            raise

    @contextmanager
    def _calling(self, name: str, deadline: Deadline, message: object = None) -> Iterator[Metadata | None]:
        """Surrounds a call of the method of that name. Gives the metadata to send with it."""
        with self._traced(name, message) as metadata, self._failing(deadline):
            yield metadata

    @contextmanager
    def _failing(self, deadline: Deadline) -> Iterator[None]:
        """Raises errors of the tree, and gives the channel up if it may not work any more."""
        try:
            with PROCESS.call(), translated(self._endpoint.name, deadline.seconds):
                yield
        except LosswireError as error:
            if self._closed and isinstance(error, CallCancelledError):  # by another thread that closed the channel
                raise closed() from error
            raise
        except BaseException as error:
            if self._closed and isinstance(error, ValueError):  # grpcio's error for a channel that is closed already
                raise closed() from error
            self._break()
            if isinstance(error, RuntimeError):
                raise no_thread(error) from error
            raise

    def _break(self) -> None:
        """Gives the channel up after an interrupt, or if gRPC could start no thread for its events.

        An interrupt between two lines of grpcio may leave one of grpcio's locks locked. Then other calls may hang, and
        so would the destruction of the channel. An extra reference keeps the channel from being destroyed.
        """
        self.is_broken = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._channel))


_: type[Wire] = GrpcWire  # mypy refuses this if a call is missing


def check_threads(count: int = 1) -> None:
    """Raises an error if the process cannot start so many threads at a time."""
    started, go_on = list[threading.Thread](), threading.Event()
    try:
        for _ in range(count):
            thread = threading.Thread(target=go_on.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise no_thread(error) from error
    finally:
        go_on.set()
        for thread in started:
            thread.join()  # other callers may be about to start threads


def no_thread(error: RuntimeError) -> LosswireError:
    return LosswireError(f"this process cannot start the threads that a call needs: {error}")


def _messages(upload: Upload, answered: threading.Event) -> Iterator[bytes]:
    """The messages of a head: the first answer says which they are."""
    yield upload.header()
    answered.wait()
    yield from upload.parts()


@contextmanager
def _until(deadline: Deadline, cancel: Callable[[], object]) -> Iterator[None]:
    """Cancels at the deadline."""
    timer = threading.Timer(deadline.remaining(), cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(call: Any) -> None:
    """Ends a call of one message and many answers."""
    if call.cancel():  # once: two threads must not wait for one event
        _take_last_events(call)


def _take_last_events(call: Any) -> None:
    """Has gRPC free a call that was cancelled, since no thread takes its events."""
    while call._state.due:  # noqa: SLF001 - grpcio has no public way
        call._consume_next_event()  # noqa: SLF001
