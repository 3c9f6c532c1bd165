"""Messages that are small in all good calls are refused if they are not, before they are parsed."""

import queue
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.helpers import call_of, eventually, serving
from tests.server.calls.raw_streams import connection
from tests.server.rpc.test_service import details

HEALTH, LOSSES = "/grpc.health.v1.Health/", "/losswire.v1.LossService/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
PATHS = [HEALTH + "Check", HEALTH + "List", HEALTH + "Watch", REFLECTION]
PATHS += [LOSSES + "GetCapabilities", LOSSES + "LeaseSharedMemory"]
LARGE = b"\x0a\x80\x20" + b"a" * 4096  # a name, where there is one


@pytest.fixture(scope="module")
def server():
    with serving(reflection="on") as running:
        yield running


@pytest.fixture
def channel(server):
    with connection(server) as connected:
        yield connected


def first_answer(channel: grpc.Channel, path: str, message: bytes) -> bytes:
    call: Any = channel.stream_stream(path)
    answer: bytes = next(call(iter([message]), timeout=20))
    return answer


@pytest.mark.parametrize("message", [LARGE, b"\xf8\x7f\x01" * 1200, b"\xff", b"\x0b" * 1000])
@pytest.mark.parametrize("path", PATHS)
def test_wrong_message_is_refused(channel, path, message):
    with pytest.raises(grpc.RpcError) as raised:
        first_answer(channel, path, message)
    assert call_of(raised.value).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value, error_details_pb2.BadRequest).field_violations[0].field == "request"


def test_right_messages_are_answered(channel):
    for path in (HEALTH + "Check", HEALTH + "Watch"):
        answer = health_pb2.HealthCheckResponse.FromString(first_answer(channel, path, b""))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    told = reflection_pb2.ServerReflectionResponse.FromString(
        first_answer(channel, REFLECTION, asked.SerializeToString())
    )
    assert len(told.list_services_response.service) == 5


@pytest.mark.parametrize("path", PATHS)
def test_caller_that_sends_nothing_is_cut_off(path):
    with serving(reflection="on", send_seconds=0.2) as server, connection(server) as channel:
        never: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        begin: Any = channel.stream_stream(path)
        call = begin(iter(never.get, None), timeout=20)
        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        never.put(None)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "took longer to arrive" in call_of(raised.value).details()


@pytest.mark.parametrize("path", PATHS)
def test_caller_that_leaves_is_forgotten(server, channel, path):
    never: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    begin: Any = channel.stream_stream(path)
    call = begin(iter(never.get, None), timeout=20)
    eventually(lambda: len(server._waits._receiving) == 1)
    call.cancel()
    never.put(None)
    eventually(lambda: not server._waits._receiving)
