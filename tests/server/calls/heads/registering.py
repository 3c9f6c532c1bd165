"""Registers heads as a caller in any language does."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.heads.content import digest, without_elements
from losswire.v1 import head_service_pb2_grpc
from tests.server.heads.making import content_of

TIMEOUT = 30


class Stream:
    """A stream that registers a head, message by message."""

    def __init__(self, channel: grpc.Channel, **options: Any) -> None:
        self._requests: SimpleQueue[v1.RegisterHeadRequest | None] = SimpleQueue()
        stub: Any = head_service_pb2_grpc.HeadServiceStub(channel)
        self.call = stub.RegisterHead(iter(self._requests.get, None), timeout=TIMEOUT, **options)

    def begin(self, head: v1.Head, named: str = "") -> "Stream":
        header = v1.HeadHeader(digest=named or digest(head), head=without_elements(head))
        self._requests.put(v1.RegisterHeadRequest(header=header))
        return self

    def send(self, offset: int, data: bytes) -> "Stream":
        self._requests.put(v1.RegisterHeadRequest(content=v1.HeadPart(offset_bytes=offset, data=data)))
        return self

    def put(self, request: v1.RegisterHeadRequest) -> "Stream":
        self._requests.put(request)
        return self

    def end(self) -> "Stream":
        self._requests.put(None)
        return self

    def read(self) -> v1.RegisterHeadResponse:
        answer: v1.RegisterHeadResponse = next(self.call)
        return answer

    def rest(self) -> list[v1.RegisterHeadResponse]:
        return list(self.call)


def parts(content: bytes, size: int, begin: int = 0) -> Iterator[tuple[int, bytes]]:
    for offset in range(begin, len(content), size):
        yield offset, content[offset : offset + size]


def register(channel: grpc.Channel, head: v1.Head, size: int = 2**20, **options: Any) -> v1.HeldHead:
    """Registers a head, and returns it as the server holds it."""
    stream = Stream(channel, **options).begin(head)
    answer = stream.read()
    if not answer.HasField("head"):
        for offset, data in parts(content_of(head), size, answer.received_bytes):
            stream.send(offset, data)
        answer = stream.read()
    assert stream.end().rest() == []
    return answer.head


def reason_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """The code and the reason of a call that failed."""
    assert isinstance(error, grpc.Call)
    status: status_pb2.Status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), info.reason
