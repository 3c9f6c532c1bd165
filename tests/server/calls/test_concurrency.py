"""Callers that overload the server, leave, run out of time, or are under way when it stops."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

import losswire_server.calls.desk
import losswire_server.calls.unary
from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from tests.helpers import call_of, eventually, serving
from tests.server.calls.gate import Gate

METHOD = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": "Evaluate"}


def request() -> v1.EvaluateRequest:
    """A request of about 3,200 bytes: the smallest possible server has room for one, but not for two."""
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[2, 400], data=bytes(3200)),
        target=v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=[2], data=bytes(16)),
    )


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(losswire_server.calls.desk, "AT_ONCE_SECONDS", 0)  # without this, small requests never wait
    gate = Gate(losswire_server.calls.unary.evaluate)  # type: ignore[attr-defined]
    monkeypatch.setattr(losswire_server.calls.unary, "evaluate", gate)
    yield gate
    gate.opened.set()


@contextmanager
def connected(server: Server) -> Iterator[loss_service_pb2_grpc.LossServiceStub]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield loss_service_pb2_grpc.LossServiceStub(channel)


def handled(server: Server, *codes: str) -> float:
    samples = [server.registry.get_sample_value("grpc_server_handled_total", METHOD | {"grpc_code": c}) for c in codes]
    return sum(sample for sample in samples if sample)


def inflight_bytes(server: Server) -> float | None:
    return server.registry.get_sample_value("losswire_inflight_bytes")


def test_overload_says_when_to_come_back(gate):
    with serving(max_message_bytes=4096, max_inflight_bytes=6144) as server, connected(server) as stub:
        first = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Evaluate(request())
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(call_of(raised.value).trailing_metadata())["grpc-retry-pushback-ms"] == "100"
        gate.opened.set()
        assert first.result(20).row_count == 2
        eventually(lambda: inflight_bytes(server) == 0)
        assert stub.Evaluate(request()).row_count == 2


@pytest.mark.parametrize("leave", ["cancel", "deadline"])
def test_leaving_the_queue_costs_no_work(gate, leave):
    with serving(engine_workers=1) as server, connected(server) as stub:
        first = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        second = stub.Evaluate.future(request(), timeout=2 if leave == "deadline" else None)
        eventually(lambda: inflight_bytes(server) == 2 * request().ByteSize())
        if leave == "cancel":
            second.cancel()
        eventually(lambda: handled(server, "Cancelled", "DeadlineExceeded") == 1)
        gate.opened.set()
        assert first.result(20).row_count == 2
        eventually(lambda: inflight_bytes(server) == 0)
        assert gate.evaluated == 1
        assert server.registry.get_sample_value("losswire_rows_total", {"loss": "cross_entropy"}) == 2


def test_leaving_amid_work_holds_memory(gate):
    with serving() as server, connected(server) as stub:
        call = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        call.cancel()
        eventually(lambda: handled(server, "Cancelled") == 1)
        assert inflight_bytes(server) == request().ByteSize()
        gate.opened.set()
        eventually(lambda: inflight_bytes(server) == 0)
        assert server.registry.get_sample_value("losswire_rows_total", {"loss": "cross_entropy"}) == 0


def test_stopping_server_answers_calls(gate):
    with serving() as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        call = loss_service_pb2_grpc.LossServiceStub(channel).Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        opener = threading.Timer(0.3, gate.opened.set)
        opener.start()
    assert call.result(20).row_count == 2
    opener.join()
    channel.close()


def test_call_past_grace_is_cancelled(gate):
    with serving(grace_seconds=0.2) as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        call = loss_service_pb2_grpc.LossServiceStub(channel).Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        opener = threading.Timer(1.5, gate.opened.set)  # a thread that computes cannot be stopped
        opener.start()
    with pytest.raises(grpc.RpcError) as raised:
        call.result(20)
    assert raised.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    opener.join()
    channel.close()


def test_health_watch_ends_with_the_server():
    watched, statuses = threading.Event(), []

    def watch(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            for answer in health.Watch(health_pb2.HealthCheckRequest()):
                statuses.append(answer.status)
                watched.set()

    with serving(grace_seconds=60) as server:
        watcher = threading.Thread(target=watch, args=(server.port,))
        watcher.start()
        assert watched.wait(20)
        start = time.monotonic()
    watcher.join(20)
    assert time.monotonic() - start < 30  # less than the grace
    assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


@pytest.mark.parametrize("elements", [2, 100_000])  # in the event loop, and in a thread
def test_settings_say_the_threads(monkeypatch, elements):
    def evaluate(*_: object) -> v1.EvaluateResponse:
        seen.append(torch.get_num_threads())
        return v1.EvaluateResponse()

    seen: list[int] = []
    monkeypatch.setattr(losswire_server.calls.unary, "evaluate", evaluate)
    wanted = request()
    wanted.input.shape[:] = [elements // 2, 2]
    for threads in (1, 3):
        with serving(torch_threads=threads) as server, connected(server) as stub:
            stub.Evaluate(wanted)
    assert seen == [1, 3]


@pytest.mark.parametrize(("elements", "beside"), [(8192, False), (100_000, True)])
def test_small_batches_stay_on_the_event_loop(monkeypatch, elements, beside):
    def evaluate(*_: object) -> v1.EvaluateResponse:
        threads.append(threading.current_thread().name)
        return v1.EvaluateResponse()

    threads: list[str] = []
    monkeypatch.setattr(losswire_server.calls.unary, "evaluate", evaluate)
    wanted = request()
    wanted.input.shape[:] = [elements // 2, 2]
    with serving() as server, connected(server) as stub:
        stub.Evaluate(wanted)
    assert [name.startswith("losswire-engine") for name in threads] == [beside]


def test_many_callers_get_their_own_answers():
    with serving(engine_workers=3) as server, connected(server) as stub:

        def sized(rows: int) -> v1.EvaluateRequest:
            wanted = request()
            wanted.input.shape[0] = wanted.target.shape[0] = rows
            wanted.input.data, wanted.target.data = bytes(1600 * rows), bytes(8 * rows)
            return wanted

        calls = {rows: stub.Evaluate.future(sized(rows)) for rows in range(1, 60)}
        assert {rows: call.result(20).row_count for rows, call in calls.items()} == {rows: rows for rows in calls}
