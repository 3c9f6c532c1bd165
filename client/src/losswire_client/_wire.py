"""The calls of the contract, made and waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client._deadline import Deadline
from losswire_client._endpoint import SERVICE, Endpoint
from losswire_client._errors import CallCancelledError, InvalidArgumentError, closed, late, leaving, translated
from losswire_client._fork import PROCESS
from losswire_client._region import Region
from losswire_client._stream import Stream

T = TypeVar("T")


class Wire:
    """A channel. May be used from any thread. Whatever fails raises errors of the tree."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._closed = False
        self._channel = endpoint.open(grpc)
        self._stub = LossServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._evaluate_stream = self._channel.stream_stream(f"/{SERVICE}/EvaluateStream")  # of bytes: losswire.frames

    def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        answer: v1.EvaluateResponse = self._answer(self._stub.Evaluate, request, deadline)
        return answer

    def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse:
        request = v1.GetCapabilitiesRequest()
        answer: v1.GetCapabilitiesResponse = self._answer(self._stub.GetCapabilities, request, deadline)
        return answer

    def check_health(self, deadline: Deadline) -> float:
        """Seconds that the answer took."""
        start = time.perf_counter()
        answer = self._answer(self._health.Check, health_pb2.HealthCheckRequest(service=SERVICE), deadline)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise leaving(self._endpoint.name)
        return time.perf_counter() - start

    def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        with self._calling(deadline):
            messages, metadata = stream.messages(), self._endpoint.metadata()
            call = self._evaluate_stream(messages, timeout=deadline.remaining(), metadata=metadata)
            try:
                for message in call:
                    stream.take(message)
            finally:
                call.cancel()

    def lease(self, size: int, deadline: Deadline) -> Region:
        """Memory that is ours as long as the call lasts, which therefore has no timeout of its own."""
        with self._calling(deadline):
            request, metadata = v1.LeaseSharedMemoryRequest(size_bytes=size), self._endpoint.metadata()
            call = self._stub.LeaseSharedMemory(request, metadata=metadata)
            try:
                with _until(deadline, call.cancel) as is_late:
                    return Region(next(call), call.is_active, call.cancel)
            except BaseException as error:
                call.cancel()
                if is_late():
                    raise late(self._endpoint.name, deadline.seconds) from error
                if isinstance(error, StopIteration):
                    raise leaving(self._endpoint.name) from error
                raise

    def work(self, function: Callable[..., T], *arguments: object) -> T:
        """Does what takes long without any I/O."""
        return function(*arguments)

    def close(self) -> None:
        self._closed = True
        self._channel.close()

    def _answer(self, method: Callable[..., T], request: object, deadline: Deadline) -> T:
        with self._calling(deadline):
            return method(request, timeout=deadline.remaining(), metadata=self._endpoint.metadata())

    @contextmanager
    def _calling(self, deadline: Deadline) -> Iterator[None]:
        try:
            with PROCESS.call(), translated(self._endpoint.name, deadline.seconds):
                yield
        except (CallCancelledError, ValueError) as error:
            # As grpcio says it, if another thread closes the channel meanwhile; or has, when the call is made.
            if not self._closed or isinstance(error, InvalidArgumentError):
                raise
            raise closed() from error


@contextmanager
def _until(deadline: Deadline, cancel: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Cancels at the deadline; gives what tells whether that has happened."""
    late = threading.Event()

    def on_deadline() -> None:
        late.set()
        cancel()

    timer = threading.Timer(deadline.remaining(), on_deadline)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()
