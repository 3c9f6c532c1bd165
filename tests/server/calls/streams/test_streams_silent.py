"""Concurrent streams that need memory as they go on: no stream is locked out, or waits without end."""

import threading

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import losswire_server.calls.admission
from losswire.v1 import loss_service_pb2_grpc
from tests.helpers import call_of, eventually, serving
from tests.present import present
from tests.server.calls.raw_streams import METHOD, Batch, RawStream, connection
from tests.server.requests.stream_requests import GRADIENT, MEAN, classes

MIB = 2**20
ROWS, PART = 3 * 2**18, 2**15  # 6 MiB of targets, in slabs of 256 KiB


@pytest.fixture
def server():
    with serving(max_inflight_bytes=8_200_000, max_message_bytes=2 * MIB, caller_share=1) as running:
        yield running


@pytest.fixture
def channel(server):
    with connection(server) as connected:
        yield connected


def ahead() -> Batch:
    """A batch whose targets come ahead of the input."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 2), np.float32).astype(np.float16)
    return Batch(x, rng.integers(0, 2, ROWS), outputs=GRADIENT, reduction=MEAN)


def inflight_bytes(server) -> float:
    held: float = server.registry.get_sample_value("losswire_inflight_bytes")
    return held


def received(server) -> float:
    return server.registry.get_sample_value("grpc_server_msg_received_total", METHOD) or 0


def is_overloaded(error: grpc.RpcError) -> bool:
    retry = error_details_pb2.RetryInfo()
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and any(
        detail.Unpack(retry) for detail in rpc_status.from_call(call_of(error)).details
    )


def evaluate(channel: grpc.Channel) -> int:
    """A call of half a megabyte."""
    return loss_service_pb2_grpc.LossServiceStub(channel).Evaluate(classes((128,), 1024).request).row_count


def is_refused(channel: grpc.Channel) -> bool:
    """Whether there is no room for a call of two megabytes."""
    try:
        loss_service_pb2_grpc.LossServiceStub(channel).Evaluate(classes((500,), 1024).request)
    except grpc.RpcError as error:
        return is_overloaded(error)
    return False


def silent(server, channel: grpc.Channel, *messages: bytes) -> RawStream:
    """A stream that sends no more after these messages, which the server has taken."""
    held, before = sum(map(len, messages[1:])), received(server)
    stream = RawStream(channel).send(*messages)
    eventually(lambda: received(server) == before + len(messages))
    eventually(lambda: held <= inflight_bytes(server) < MIB * 7.5)
    return stream


def test_announced_targets_keep_nobody_out(server, channel):
    header = ahead().header()
    streams = [RawStream(channel).send(header) for _ in range(20)]
    eventually(lambda: inflight_bytes(server) > 0)
    for _ in range(5):
        assert evaluate(channel) == 128
    for stream in streams:
        stream.close()


def test_targets_that_came_are_held(server, channel):
    batch = ahead()
    stream = silent(server, channel, batch.header(), *batch.slabs(PART, "target")[:12])
    assert 12 * 2**18 <= inflight_bytes(server) < 5 * MIB
    stream.close()
    eventually(lambda: inflight_bytes(server) == 0)


def test_silent_stream_makes_room(server, channel, monkeypatch):
    batch = ahead()
    stream = silent(server, channel, batch.header(), *batch.slabs(PART, "target"))
    with connection(server) as another:
        eventually(lambda: is_refused(another))
        monkeypatch.setattr(losswire_server.calls.admission, "SILENT_SECONDS", 0)
        eventually(lambda: (is_refused(another), not stream.call.is_active())[1])
    error = stream.error()
    assert is_overloaded(error)
    assert "sent nothing for long" in present(call_of(error).details())
    eventually(lambda: inflight_bytes(server) == 0)
    assert evaluate(channel) == 128


def test_one_of_two_starved_streams_goes_on(server, channel):
    batch, ends = ahead(), list[bool | grpc.RpcError]()

    def run() -> None:
        stream = RawStream(channel)
        stream.send(batch.header(), *batch.slabs(PART, "target"), *batch.slabs(PART, "input")).end()
        try:
            ends.append(sum(1 for _ in stream.call) > 0)
        except grpc.RpcError as error:
            stream.end()
            ends.append(is_overloaded(error) or error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ends == [True] * 3
    eventually(lambda: inflight_bytes(server) == 0)
