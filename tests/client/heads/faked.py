"""A HeadService that breaks, refuses and forgets as a test wants it to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.v1.head_service_pb2_grpc import HeadServiceServicer, add_HeadServiceServicer_to_server
from losswire.v1.loss_service_pb2_grpc import LossServiceServicer, add_LossServiceServicer_to_server

MESSAGE_BYTES = 4096  # the largest that it takes


@dataclass
class Faked(HeadServiceServicer, LossServiceServicer):
    """Both services.

    Attributes:
        breaks: After how many bytes of content the next streams break off.
        refusal: With which code and text heads are refused.
        is_silent: Whether it takes heads and never answers.
        holds: Whether it holds heads that it was given.
        content: What it has of heads.
        began: Where each stream began.
        calls: Names of calls, in order.
    """

    breaks: list[int] = field(default_factory=list)
    refusal: tuple[grpc.StatusCode, str] | None = None
    is_silent: bool = False
    holds: bool = True
    content: bytearray = field(default_factory=bytearray)
    began: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    held: dict[str, v1.Head] = field(default_factory=dict)

    def GetCapabilities(self, request: Any, context: grpc.ServicerContext) -> v1.GetCapabilitiesResponse:  # noqa: ARG002, N802
        limits = v1.Limits(max_message_bytes=MESSAGE_BYTES, slab_bytes=MESSAGE_BYTES)
        return v1.GetCapabilitiesResponse(limits=limits, transports=[v1.Transport.TRANSPORT_UNARY])

    def Evaluate(self, request: v1.EvaluateRequest, context: grpc.ServicerContext) -> v1.EvaluateResponse:  # noqa: N802
        self.calls.append("Evaluate")
        digest = request.spec.linear_cross_entropy.head
        if digest not in self.held:
            _abort_missing(context, digest)
        loss = v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, data=bytes(4))
        return v1.EvaluateResponse(loss=loss)

    def RegisterHead(  # noqa: N802
        self, request_iterator: Iterator[v1.RegisterHeadRequest], context: grpc.ServicerContext
    ) -> Iterator[v1.RegisterHeadResponse]:
        self.calls.append("RegisterHead")
        header = next(request_iterator).header
        if self.refusal is not None:
            context.abort(*self.refusal)
        if self.is_silent:
            any(False for _ in request_iterator)  # until the caller leaves
            return
        self.began.append(len(self.content))
        yield v1.RegisterHeadResponse(received_bytes=len(self.content))
        most = self.breaks.pop(0) if self.breaks else None
        for message in request_iterator:
            if most is not None and len(self.content) >= most:
                context.abort(grpc.StatusCode.UNAVAILABLE, "on its way")
            assert message.content.offset_bytes == len(self.content)
            assert message.ByteSize() <= MESSAGE_BYTES
            self.content += message.content.data
        if self.holds:
            self.held[header.digest] = header.head
        yield v1.RegisterHeadResponse(head=v1.HeldHead(digest=header.digest, head=header.head))


def _abort_missing(context: grpc.ServicerContext, name: str) -> None:
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="HEAD_NOT_FOUND", subject=name)
    info = error_details_pb2.ErrorInfo(domain="losswire", reason="HEAD_NOT_FOUND")
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(info)
    details[1].Pack(failure)
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message=f"no head {name}", details=details)
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def faking(**behaviour: Any) -> Iterator[tuple[Faked, str]]:
    """A server on a free port, and its address."""
    service = Faked(**behaviour)  # type: ignore[abstract]  # it serves few methods
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    add_HeadServiceServicer_to_server(service, server)
    add_LossServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield service, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
