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

import ce_engine
import losswire_server.calls.work
from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from losswire_server.requests.needed import needed_bytes
from tests.helpers import call_of, eventually, serving, total
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.gate import Gate, gated
from tests.server.calls.raw_streams import connection

METHOD = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": "Evaluate"}


def request() -> v1.EvaluateRequest:
    """A request of about 3,200 bytes, which takes some 46,000 until it is answered."""
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[2, 400], data=bytes(3200)),
        target=v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=[2], data=bytes(16)),
    )


NEEDED = request().ByteSize() + needed_bytes(request())


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(losswire_server.calls.work, "AT_ONCE_SECONDS", 0)  # without this, small requests never wait
    with gated(monkeypatch) as gate:
        yield gate


@contextmanager
def connected(server: Server) -> Iterator[loss_service_pb2_grpc.LossServiceStub]:
    with connection(server) as channel:  # of its own: calls of one connection are one caller's
        yield loss_service_pb2_grpc.LossServiceStub(channel)


def handled(server: Server, *codes: str) -> float:
    samples = [server.registry.get_sample_value("grpc_server_handled_total", METHOD | {"grpc_code": c}) for c in codes]
    return sum(sample for sample in samples if sample)


def inflight_bytes(server: Server) -> float | None:
    return server.registry.get_sample_value("losswire_inflight_bytes")


def test_overload_says_when_to_come_back(gate):
    with (
        serving(max_message_bytes=4096, max_inflight_bytes=70_000, caller_share=1) as server,
        connected(server) as stub,
    ):
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
        eventually(lambda: inflight_bytes(server) == 2 * NEEDED)
        if leave == "cancel":
            second.cancel()
        eventually(lambda: handled(server, "Cancelled", "DeadlineExceeded") == 1)
        gate.opened.set()
        assert first.result(20).row_count == 2
        eventually(lambda: inflight_bytes(server) == 0)
        assert gate.evaluated == 1
        assert total(server.registry, "losswire_rows_total", loss="cross_entropy") == 2


def test_leaving_amid_work_holds_memory(gate):
    with serving() as server, connected(server) as stub:
        call = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        call.cancel()
        eventually(lambda: handled(server, "Cancelled") == 1)
        assert inflight_bytes(server) == NEEDED
        gate.opened.set()
        eventually(lambda: inflight_bytes(server) == 0)
        assert total(server.registry, "losswire_rows_total", loss="cross_entropy") == 0


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
        call.add_done_callback(lambda _: gate.opened.set())  # a thread that computes cannot be stopped
    with pytest.raises(grpc.RpcError) as raised:
        call.result(20)
    assert raised.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
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


def sized(elements: int) -> v1.EvaluateRequest:
    """A request of two classes with so many elements."""
    wanted, rows = request(), elements // 2
    wanted.input.shape[:], wanted.target.shape[:] = [rows, 2], [rows]
    wanted.input.data, wanted.target.data = bytes(4 * elements), bytes(8 * rows)
    return wanted


@pytest.mark.parametrize("elements", [2, 100_000])  # on the event loop, and in the engine
def test_settings_say_the_threads(monkeypatch, elements):
    def evaluate(*arguments: Any, **options: Any) -> ce_engine.RowResults:
        seen.append(torch.get_num_threads())
        return compute(*arguments, **options)

    seen: list[int] = []
    compute = ce_engine.cpu.evaluate
    replace_evaluation(monkeypatch, evaluate)
    for threads in (1, 3):
        with serving(torch_threads=threads) as server, connected(server) as stub:
            stub.Evaluate(sized(elements))
    assert seen == [1, 3]


@pytest.mark.parametrize(("elements", "beside"), [(8192, False), (100_000, True)])
def test_small_batches_stay_on_the_event_loop(monkeypatch, elements, beside):
    with gated(monkeypatch) as gate, serving() as server, connected(server) as stub:
        gate.opened.set()
        stub.Evaluate(sized(elements))
    assert [name.startswith("ce-engine") for name in gate.threads] == [beside]


def test_small_batch_is_answered_while_large_ones_wait(monkeypatch):
    with gated(monkeypatch) as gate, serving(engine_workers=1) as server, connected(server) as stub:
        large = [stub.Evaluate.future(sized(100_000)) for _ in range(3)]
        assert gate.arrived.acquire(timeout=20)
        eventually(lambda: sample(server, "losswire_queued_rows") == 100_000)
        replace_evaluation(monkeypatch, gate.compute)
        assert stub.Evaluate(sized(100)).row_count == 50
        assert not any(call.done() for call in large)
        gate.opened.set()
        assert all(call.result(20).row_count == 50_000 for call in large)


FLOOD = 20


def test_callers_take_turns(gate):
    evaluated: list[int] = []

    def evaluate(kind: Any, input: Any, *operands: Any, **options: Any) -> Any:
        evaluated.append(len(input))
        return compute(kind, input, *operands, **options)

    compute, gate.compute = gate.compute, evaluate
    settings = {"engine_workers": 1, "max_batch_rows": 1}
    with serving(**settings) as server, connected(server) as flood, connected(server) as quiet:
        first = flood.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        calls = [flood.Evaluate.future(sized(elements=6)) for _ in range(FLOOD)]
        eventually(lambda: sample(server, "losswire_queued_rows") == FLOOD * 3)
        last = quiet.Evaluate.future(sized(elements=20_000))
        eventually(lambda: sample(server, "losswire_queued_rows") == FLOOD * 3 + 10_000)
        gate.opened.set()
        assert [call.result(60).row_count for call in (first, *calls, last)] == [2, *[3] * FLOOD, 10_000]
    assert evaluated.index(10_000) < FLOOD / 2


def test_full_queue_says_when_to_come_back(gate):
    with serving(engine_workers=1, max_queue_rows=8) as server, connected(server) as stub:
        first = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        waiting = [stub.Evaluate.future(request()) for _ in range(2)]
        eventually(lambda: sample(server, "losswire_queued_rows") == 4)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Evaluate(request())
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(call_of(raised.value).trailing_metadata())["grpc-retry-pushback-ms"] == "100"
        gate.opened.set()
        assert all(call.result(20).row_count == 2 for call in (first, *waiting))
        eventually(lambda: inflight_bytes(server) == 0)


def test_leaving_the_queue_gives_rows_back(gate):
    with serving(engine_workers=1) as server, connected(server) as stub:
        first = stub.Evaluate.future(request())
        assert gate.arrived.acquire(timeout=20)
        second = stub.Evaluate.future(request())
        eventually(lambda: sample(server, "losswire_queued_rows") == 2)
        second.cancel()
        eventually(lambda: sample(server, "losswire_queued_rows") == 0)
        eventually(lambda: inflight_bytes(server) == NEEDED)
        gate.opened.set()
        assert first.result(20).row_count == 2


def test_launches_are_measured(gate):
    gate.opened.set()
    with serving() as server, connected(server) as stub:
        for _ in range(3):
            stub.Evaluate(request())
        for name in ("launch_rows", "launch_requests"):
            assert sample(server, f"losswire_{name}_count") == 3
        assert sample(server, "losswire_stage_seconds_count", stage="queue") == 3
        assert sample(server, "losswire_launch_rows_sum") == 6
        assert sample(server, "losswire_launch_requests_sum") == 3


def test_short_work_is_in_no_launch():
    with serving() as server, connected(server) as stub:
        stub.Evaluate(request())
        assert sample(server, "losswire_launch_rows_count") == 0
        assert total(server.registry, "losswire_rows_total", loss="cross_entropy") == 2


def sample(server: Server, name: str, **labels: str) -> float | None:
    return server.registry.get_sample_value(name, labels)


def test_many_callers_get_their_own_answers():
    with serving(engine_workers=3) as server, connected(server) as stub:
        calls = {rows: stub.Evaluate.future(sized(2000 * rows)) for rows in range(1, 60)}
        for rows, call in calls.items():
            assert call.result(20).row_count == 1000 * rows
