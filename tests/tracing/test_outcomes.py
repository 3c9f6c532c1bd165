"""What a trace tells of calls that fail, are late or are left; whom it is for; and the metric of durations."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from losswire_client import AsyncClient, Client, DeadlineExceededError, InvalidArgumentError
from losswire_server.errors import OverloadedError
from losswire_server.rpc.service import LossService
from tests.helpers import serving
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.gate import gated
from tests.tracing.traces import SERVICE, check_way, measured, traced

SMALL = np.zeros((4, 10), np.float32), np.zeros(4, np.int64)
LARGE = np.zeros((100, 1000), np.float32), np.zeros(100, np.int64)
MANY_SLABS = np.zeros((2000, 100), np.float32), np.zeros(2000, np.int64)


def test_fault_of_the_caller_is_no_error_of_the_server(address):
    with Client(address) as client, traced() as trace:
        with pytest.raises(InvalidArgumentError):
            client.cross_entropy(SMALL[0], SMALL[1] + 77_777_777)
        operation, sent, received = check_way(trace, "Evaluate")
    assert (received.attributes["rpc.status_code"], received.attributes["losswire.reason"]) == (
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
    )
    assert received.status.status_code is StatusCode.UNSET
    assert "error.type" not in received.attributes
    assert "77777777" not in received.to_json()
    assert (sent.attributes["rpc.status_code"], sent.attributes["error.type"]) == ("INVALID_ARGUMENT",) * 2
    assert (operation.attributes["error.type"], operation.status.status_code) == (
        "InvalidArgumentError",
        StatusCode.ERROR,
    )


def test_fault_of_the_server_tells_no_text(address, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a secret")

    replace_evaluation(monkeypatch, fail)
    with Client(address) as client, traced() as trace:
        with pytest.raises(Exception, match="internal error"):
            client.cross_entropy(*SMALL)
        _, _, received = check_way(trace, "Evaluate")
        told = "".join(span.to_json() for span in trace.spans)
    assert received.status.status_code is StatusCode.ERROR
    assert (received.attributes["error.type"], received.attributes["losswire.reason"]) == ("INTERNAL", "INTERNAL")
    assert "a secret" not in told


@pytest.mark.slow
def test_late_call_tells_where_it_waited(monkeypatch):
    with gated(monkeypatch) as gate, serving(tracing=True, engine_workers=1) as server:
        target = f"127.0.0.1:{server.port}"
        with Client(target, transport="unary") as client, ThreadPoolExecutor(1) as pool, traced() as trace:
            first = pool.submit(client.cross_entropy, *LARGE)
            assert gate.arrived.acquire(timeout=30)
            with pytest.raises(DeadlineExceededError):
                client.cross_entropy(*LARGE, timeout=1.5)
            _, sent, received = check_way(trace, "Evaluate")
            trace.check_below(received, "receive", "admission", "read", "queue")
            assert trace.only("queue").attributes["losswire.unfinished"] is True
            gate.opened.set()
            first.result()
    assert received.attributes["rpc.status_code"] in ("DEADLINE_EXCEEDED", "CANCELLED")
    assert sent.attributes["rpc.status_code"] == "DEADLINE_EXCEEDED"


def test_cancelled_call_ends_its_spans(monkeypatch):
    async def cancel(target, gate):
        async with AsyncClient(target, transport="unary") as client:
            call = asyncio.create_task(client.cross_entropy(*LARGE))
            await asyncio.to_thread(gate.arrived.acquire)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    with gated(monkeypatch) as gate, serving(tracing=True) as server, traced() as trace:
        asyncio.run(cancel(f"127.0.0.1:{server.port}", gate))
        _, sent, received = check_way(trace, "Evaluate")
        gate.opened.set()
    assert (sent.attributes["rpc.status_code"], received.attributes["rpc.status_code"]) == ("CANCELLED",) * 2
    assert received.status.status_code is StatusCode.UNSET


def test_retries_are_events(monkeypatch):
    refusals = [OverloadedError("full", 10), OverloadedError("full", 10)]
    answer = LossService.Evaluate

    async def refuse(service, request, caller):
        if refusals:
            raise refusals.pop()
        return await answer(service, request, caller)

    monkeypatch.setattr(LossService, "Evaluate", refuse)
    with serving(tracing=True) as server, Client(f"127.0.0.1:{server.port}") as client, traced() as trace:
        client.cross_entropy(*SMALL)
        operation = trace.only("evaluate cross_entropy")
        calls = trace.named(f"{SERVICE}/Evaluate", SpanKind.SERVER)
    assert [event.name for event in operation.events] == ["retry", "retry"]
    assert operation.events[0].attributes["error.type"] == "OverloadedError"
    assert operation.events[0].attributes["losswire.pause_seconds"] >= 0.01
    assert [call.attributes["rpc.status_code"] for call in calls] == ["RESOURCE_EXHAUSTED"] * 2 + ["OK"]
    assert calls[0].attributes["losswire.reason"] == "OVERLOADED"
    assert calls[0].status.status_code is StatusCode.UNSET


def test_nothing_is_made_for_calls_that_are_not_sampled(address):
    with Client(address) as client, traced(ALWAYS_OFF) as trace:
        client.cross_entropy(*SMALL)
        client.cross_entropy(*MANY_SLABS)
        assert trace.spans == []


@pytest.mark.parametrize(
    "traceparent",
    [
        "garbage",
        "",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-" + "a" * 4000,
    ],
)
def test_malformed_context_is_ignored(address, traceparent):
    with traced() as trace, grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetCapabilities")
        assert call(b"", metadata=(("traceparent", traceparent), ("tracestate", "=;,=")), timeout=20)
        assert trace.only(f"{SERVICE}/GetCapabilities", SpanKind.SERVER).parent is None


def test_context_comes_by_w3c_headers(address):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with traced() as trace, grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/GetCapabilities")
        call(b"", metadata=(("traceparent", parent), ("tracestate", "vendor=1")), timeout=20)
        received = trace.only(f"{SERVICE}/GetCapabilities", SpanKind.SERVER)
    assert f"{received.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{received.parent.span_id:016x}" == "b7ad6b7169203331"
    assert received.context.trace_state.get("vendor") == "1"


@pytest.mark.slow
def test_durations_are_measured_by_the_convention(address):
    with Client(address) as client, traced():
        client.cross_entropy(*SMALL)
        with pytest.raises(InvalidArgumentError):
            client.cross_entropy(SMALL[0], SMALL[1] + 77_777_777)

    def is_of(code):
        wanted = {"rpc.system.name": "grpc", "rpc.method": f"{SERVICE}/Evaluate", "rpc.status_code": code}
        return lambda attributes: wanted.items() <= dict(attributes).items()

    (server,) = measured("rpc.server.call.duration", is_of("OK"))
    assert server.explicit_bounds == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert set(server.attributes) == {"rpc.system.name", "rpc.method", "rpc.status_code"}
    assert 0 < server.sum / server.count < 30
    port = int(address.split(":")[1])
    sent = measured("rpc.client.call.duration", is_of("OK"))
    assert any(point.attributes.get("server.port") == port and point.count for point in sent)
    assert sent[0].explicit_bounds == server.explicit_bounds
    (refused,) = measured("rpc.server.call.duration", is_of("INVALID_ARGUMENT"))
    assert refused.count >= 1
    assert "error.type" not in refused.attributes
