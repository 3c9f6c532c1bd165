"""The service behind gRPC servers as others may run them: with certificates, tokens, on Unix sockets."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from losswire import v1
from losswire.v1 import loss_service_pb2
from losswire.wire import MESSAGE_BYTES_KEY
from losswire_server.in_process import CallFailedError, InProcess

NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
Refusal = tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]


@dataclass
class Answering:
    """A server that counts its calls and may refuse them.

    Attributes:
        target: Address of the server.
        tokens: Values of ``authorization`` in the calls.
        methods: Methods that were called.
        told: Of messages that came as bytes, the sizes that their callers told, and their sizes.
        refusals: Errors for the next calls instead of an answer.
    """

    target: str
    health: health.HealthServicer
    tokens: list[str | bytes | None] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    told: list[tuple[str | bytes, int]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def handler(self, method: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.methods.append(method)
            metadata = dict(context.invocation_metadata())
            self.tokens.append(metadata.get("authorization"))
            if isinstance(request, bytes):
                self.told.append((metadata[MESSAGE_BYTES_KEY], len(request)))
            if self.refusals:
                code, text, trailers = self.refusals.pop(0)
                context.set_trailing_metadata(trailers)
                context.abort(code, text)
            try:
                return answer(method, request, 20)
            except CallFailedError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())

        return handle


@contextmanager
def answering(address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None) -> Iterator[Answering]:
    """A server at an address. If the port is 0, its target has the port that it took."""
    service = InProcess()
    server = grpc.server(
        ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 2**26)]
    )
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    target = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    # With this argument each watch blocks a thread of the pool. By default a watch answers with a lock held, which the
    # server's thread needs when a watch ends: a deadlock.
    running = Answering(target, health.HealthServicer(experimental_non_blocking=False))
    running.health.set(NAME, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(running.health, server)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, _handlers(running, service)),))
    server.start()
    try:
        yield running
    finally:
        server.stop(None).wait()
        service.close()


def _handlers(running: Answering, service: InProcess) -> dict[str, Any]:
    return {
        "Evaluate": grpc.unary_unary_rpc_method_handler(running.handler("Evaluate", service.call)),
        "EvaluateStream": grpc.stream_stream_rpc_method_handler(running.handler("EvaluateStream", _answers(service))),
        "GetCapabilities": grpc.unary_unary_rpc_method_handler(
            running.handler("GetCapabilities", service.call),
            v1.GetCapabilitiesRequest.FromString,
            v1.GetCapabilitiesResponse.SerializeToString,
        ),
    }


def _answers(service: InProcess) -> Callable[..., Iterator[bytes]]:
    return lambda *arguments: iter(service.stream(*arguments))
