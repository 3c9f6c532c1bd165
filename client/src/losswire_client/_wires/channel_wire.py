"""What wires of ``grpc`` and of ``grpc.aio`` have in common: the calls that have one answer."""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire import v1
from losswire.v1.head_service_pb2_grpc import HeadServiceStub
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire.v1.run_service_pb2_grpc import RunServiceStub
from losswire.wire import MESSAGE_BYTES_KEY
from losswire_client._deadline import Deadline
from losswire_client._errors import NotFoundError, NotServedError, leaving
from losswire_client._tracing.active import Metadata, call
from losswire_client._transports.packs import Outcome, pack, unpack
from losswire_client._transports.wire import Wire
from losswire_client._wires.endpoint import HEAD_SERVICE, RUN_SERVICE, SERVICE, Endpoint

T = TypeVar("T")

CHECK = "grpc.health.v1.Health/Check"
WATCH = f"{RUN_SERVICE}/WatchRun"
REGISTER = f"{HEAD_SERVICE}/RegisterHead"


class ChannelWire(Wire):
    """A channel to an endpoint.

    Args:
        endpoint: Where to.
        library: ``grpc`` or ``grpc.aio``.
        options: Of the channel, beside those of the endpoint.
    """

    def __init__(self, endpoint: Endpoint, library: Any, options: Sequence[tuple[str, Any]] = ()) -> None:
        self.is_broken = False
        self._endpoint = endpoint
        self._closed = False
        self._channel = endpoint.open(library, options)
        self._stub: Any = LossServiceStub(self._channel)
        self._run_stub: Any = RunServiceStub(self._channel)
        self._head_stub: Any = HeadServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        # Of bytes, which requests of packs are by then, and the messages of streams: see losswire.frames.
        self._evaluate_bytes = self._channel.unary_unary(f"/{SERVICE}/Evaluate", None, v1.EvaluateResponse.FromString)
        self._batch_evaluate = self._channel.unary_unary(f"/{SERVICE}/BatchEvaluate")
        self._evaluate_stream = self._channel.stream_stream(f"/{SERVICE}/EvaluateStream")
        self._register_head = self._channel.stream_stream(f"/{REGISTER}", None, v1.RegisterHeadResponse.FromString)

    async def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        answer: v1.EvaluateResponse
        answer = await self._answer("Evaluate", self._evaluate_bytes, request.SerializeToString(), deadline)
        return answer

    async def evaluate_together(self, requests: Sequence[bytes], deadline: Deadline) -> list[Outcome]:
        if len(requests) == 1:
            return [await self._answer("Evaluate", self._evaluate_bytes, requests[0], deadline)]
        answer = await self._answer("BatchEvaluate", self._batch_evaluate, pack(requests), deadline)
        return unpack(answer, len(requests))

    async def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse:
        request = v1.GetCapabilitiesRequest()
        method = self._stub.GetCapabilities
        answer: v1.GetCapabilitiesResponse = await self._answer("GetCapabilities", method, request, deadline)
        return answer

    async def call_runs(self, method: str, request: Message, deadline: Deadline) -> Any:
        return await self._answer(f"{RUN_SERVICE}/{method}", getattr(self._run_stub, method), request, deadline)

    async def call_heads(self, method: str, request: Message, deadline: Deadline) -> Any:
        return await self._answer(f"{HEAD_SERVICE}/{method}", getattr(self._head_stub, method), request, deadline)

    async def check_health(self, deadline: Deadline) -> float:
        start = time.perf_counter()
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = await self._answer(CHECK, self._health.Check, request, deadline)
        except NotFoundError as error:  # as a server says it that is not one of Losswire's
            raise NotServedError(f"the server at {self._endpoint.name} does not serve losses", error.code) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise leaving(self._endpoint.name)
        return time.perf_counter() - start

    @abstractmethod
    async def _answer(self, name: str, method: Callable[..., Any], request: object, deadline: Deadline) -> Any:
        """Makes a call that has one answer, by a method of that name."""

    def _traced(self, name: str, message: object = None) -> AbstractContextManager[Metadata | None]:
        """Surrounds a call of the method of that name. Gives the metadata to send with it.

        These tell how long its only message is, so that a busy server need not take a small one for large.
        """
        method = name if "/" in name else f"{SERVICE}/{name}"
        metadata = self._endpoint.metadata()
        if isinstance(message, bytes):
            metadata = (*(metadata or ()), (MESSAGE_BYTES_KEY, str(len(message))))
        return call(method, self._endpoint.name, metadata)
