import asyncio
import logging
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.calls.turns import Turns
from losswire_server.metrics.calls import RpcMetrics
from losswire_server.metrics.stages import StageMetrics
from losswire_server.process.sockets import Sockets
from losswire_server.rpc import access_log
from losswire_server.rpc.access_log import AccessLog
from losswire_server.rpc.call import Call
from losswire_server.rpc.receiving.connections import Connections
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.server import SERVICES
from tests.helpers import eventually, serving
from tests.server.rpc.test_service import request


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "losswire_server.rpc.access_log")
    return lambda: [line for line in caplog.records if line.name == "losswire_server.rpc.access_log"]


def call(server, *requests):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        for each in requests:
            stub.Evaluate.future(each).exception()


def test_call_is_a_line_of_the_log(lines):
    with serving() as server:
        call(server, request(), v1.EvaluateRequest())
        eventually(lambda: len(lines()) == 2)
    good, bad = lines()
    assert (good.getMessage(), good.method, good.code, good.received_bytes) == (
        "call",
        "Evaluate",
        "OK",
        request().ByteSize(),
    )
    assert good.peer.startswith("ipv4:127.0.0.1:")
    assert good.sent_bytes > 0
    assert 0 < good.milliseconds < 60_000
    assert (bad.code, bad.received_bytes, bad.sent_bytes) == ("INVALID_ARGUMENT", 0, 0)


def test_messages_of_a_stream_are_added_up(lines):
    message = v1.EvaluateStreamRequest(header=request()).SerializeToString()
    with serving() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.stream_stream("/losswire.v1.LossService/EvaluateStream")
        (answer,) = call(iter([message]))
        eventually(lambda: len(lines()) == 1)
    (line,) = lines()
    assert (line.method, line.received_bytes, line.sent_bytes) == ("EvaluateStream", len(message), len(answer))


def test_calls_above_the_rate_are_counted(lines, monkeypatch):
    monkeypatch.setattr(access_log, "WINDOW_SECONDS", 3600.0)
    with serving(access_log_per_second=2) as server:
        call(server, *[request()] * 7)
    said = [(line.getMessage(), getattr(line, "calls", None)) for line in lines()]
    assert said == [("call", None), ("call", None), ("calls left out", 5)]


def test_left_out_calls_are_told_in_time(lines, monkeypatch):
    monkeypatch.setattr(access_log, "WINDOW_SECONDS", 0.5)
    with serving(access_log_per_second=1) as server:
        call(server, *[request()] * 20)
        eventually(lambda: any(line.getMessage() == "calls left out" for line in lines()))
    written = sum(line.getMessage() == "call" for line in lines())
    assert written + sum(getattr(line, "calls", 0) for line in lines()) == 20


def test_it_can_be_turned_off(lines):
    with serving(access_log_per_second=0) as server:
        call(server, request())
    assert lines() == []


class EndedContext:
    """The context of a call whose server may have stopped. grpcio then crashes in most methods of the context."""

    def __init__(self):
        self.has_begun = False

    def peer(self):
        assert not self.has_begun
        self.has_begun = True
        return "ipv4:127.0.0.1:1"

    def time_remaining(self):
        return None


def test_ended_call_asks_grpcio_nothing(lines):
    registry = CollectorRegistry()
    metrics = RpcMetrics(registry, SERVICES[0]).method("Evaluate")
    context: Any = EndedContext()

    async def end():
        admission = Admission(1)
        waits = Waits(admission, Connections(admission, UNLIMITED), Sockets(), 1, 1, Turns())
        Call(metrics, AccessLog(10), waits, StageMetrics(registry), context).end(grpc.StatusCode.CANCELLED)

    asyncio.run(end())
    assert [(line.peer, line.code) for line in lines()] == [("ipv4:127.0.0.1:1", "CANCELLED")]
