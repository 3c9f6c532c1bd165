"""One trace leads from a caller's span through the SDK and the service to the launch, however an evaluation travels."""

import asyncio
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from losswire_client import AsyncClient, Client, testing
from tests.helpers import serving
from tests.tracing.traces import SERVICE, check_way, is_child, traced

SMALL = np.zeros((4, 10), np.float32), np.zeros(4, np.int64)
LARGE = np.zeros((100, 1000), np.float32), np.zeros(100, np.int64)
MANY_SLABS = np.zeros((2000, 100), np.float32), np.zeros(2000, np.int64)
QUEUED = ["receive", "admission", "read", "queue", "launch", "reply", "send"]


def test_small_call_is_traced_to_its_launch(address):
    with Client(address) as client, traced() as trace:
        client.cross_entropy(*SMALL, series="train")
        operation, sent, received = check_way(trace, "Evaluate")
        trace.check_below(received, "receive", "read", "launch", "reply", "send")
    conventions = {"rpc.system.name": "grpc", "rpc.method": f"{SERVICE}/Evaluate", "rpc.status_code": "OK"}
    evaluated = {
        "losswire.loss": "cross_entropy",
        "losswire.rows": 4,
        "losswire.classes": 10,
        "losswire.series": "train",
    }
    place, port = address.split(":")
    assert dict(sent.attributes) == conventions | {"server.address": place, "server.port": int(port)}
    assert conventions.items() <= received.attributes.items()
    assert (evaluated | {"losswire.requests": 1}).items() <= received.attributes.items()
    assert received.attributes["network.peer.address"] == place
    assert received.attributes["losswire.received_bytes"] > 160
    assert received.attributes["losswire.sent_bytes"] > 0
    bytes_ = {"losswire.bytes": 192, "losswire.dtype": "float32", "losswire.transport": "unary"}
    assert dict(operation.attributes) == evaluated | bytes_
    assert received.status.status_code is StatusCode.UNSET


def test_steps_of_a_queued_call_follow_each_other(address):
    with Client(address, transport="unary") as client, traced() as trace:
        client.cross_entropy(*LARGE, grad=True)
        _, _, received = check_way(trace, "Evaluate")
        trace.check_below(received, *QUEUED)
        steps = [trace.only(name) for name in QUEUED]
    assert all(step.start_time <= step.end_time for step in steps)
    assert steps[3].end_time == steps[4].start_time
    assert steps[4].end_time <= steps[5].start_time
    assert received.start_time <= steps[0].end_time
    assert steps[5].end_time <= received.end_time
    assert steps[4].attributes["losswire.rows"] == 100


def test_call_with_a_key_is_traced_to_the_disk(tmp_path):
    with (
        serving(tracing=True, runs=str(tmp_path / "runs.db")) as server,
        Client(f"127.0.0.1:{server.port}") as client,
    ):
        run = client.run("traced")
        with traced() as trace:
            run.cross_entropy(*SMALL, key="a")
            _, _, received = check_way(trace, "Evaluate")
            trace.check_below(received, "receive", "read", "launch", "commit", "reply", "send")
            launched, committed = trace.only("launch"), trace.only("commit")
    assert launched.end_time <= committed.start_time <= committed.end_time <= received.end_time


def test_stream_has_few_spans_whatever_its_length(address):
    with Client(address, transport="stream") as client, traced() as trace:
        client.cross_entropy(*MANY_SLABS, grad=True)
        operation, _, received = check_way(trace, "EvaluateStream")
        names = trace.below(received)
    assert operation.attributes["losswire.transport"] == "stream"
    assert (received.attributes["losswire.rows"], received.attributes["losswire.classes"]) == (2000, 100)
    assert names.count("launch") == names.count("send") == 8
    assert received.attributes["losswire.launch.count"] > 8
    assert 0 < received.attributes["losswire.launch.seconds"] < 60


def test_shared_memory_is_traced(address):
    with Client(address, transport="shared_memory") as client, traced() as trace:
        client.cross_entropy(*LARGE)
        operation, _, received = check_way(trace, "Evaluate")
        assert is_child(trace.only(f"{SERVICE}/LeaseSharedMemory", SpanKind.CLIENT), operation)
        assert {"receive", "read", "launch", "reply"} <= set(trace.below(received))
    assert operation.attributes["losswire.transport"] == "shared_memory"
    assert received.attributes["losswire.received_bytes"] < 1000


def test_map_is_traced_from_its_threads(address):
    with Client(address) as client, traced() as trace:
        assert len(list(client.map([SMALL] * 5))) == 5
        operations = trace.named("evaluate cross_entropy")
        assert [is_child(operation, trace.root) for operation in operations] == [True] * 5


def test_pack_is_one_call(address):
    with Client(address, coalesce=True) as client, traced() as trace:
        assert len(list(client.map([SMALL] * 6, window=6))) == 6
        received = trace.named(f"{SERVICE}/BatchEvaluate", SpanKind.SERVER)
    assert sum(span.attributes["losswire.requests"] for span in received) == 6
    assert {span.attributes["losswire.loss"] for span in received} == {"cross_entropy"}


def in_threads(address):
    with Client(address, coalesce=True) as client, ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(copy_context().run, lambda: client.cross_entropy(*SMALL)) for _ in range(64)]
        return [call.result() for call in calls]


def in_tasks(address):
    async def gather():
        async with AsyncClient(address, coalesce=True) as client:
            return await asyncio.gather(*(client.cross_entropy(*SMALL) for _ in range(64)))

    return asyncio.run(gather())


@pytest.mark.parametrize("evaluate", [in_threads, in_tasks])
def test_every_caller_of_a_pack_finds_it(address, evaluate):
    with traced() as trace:
        evaluate(address)
        operations = trace.named("evaluate cross_entropy")
        packs = trace.named(f"{SERVICE}/BatchEvaluate", SpanKind.CLIENT)
        alone = trace.named(f"{SERVICE}/Evaluate", SpanKind.CLIENT)
        received = trace.named(f"{SERVICE}/BatchEvaluate", SpanKind.SERVER)
    assert len(operations) == 64
    assert packs
    linked = {link.context.span_id for pack in packs for link in pack.links}
    parents = {call.parent.span_id for call in (*packs, *alone)}
    assert not linked & parents
    assert {operation.context.span_id for operation in operations} <= linked | parents
    seen = {link.context.span_id for operation in operations for link in operation.links}
    assert {pack.context.span_id for pack in packs if pack.links} == seen
    assert all(any(is_child(span, pack) for pack in packs) for span in received)


def test_async_client_is_traced(address):
    async def evaluate():
        async with AsyncClient(address) as client:
            await client.cross_entropy(*SMALL)
            await client.ping()
        async with AsyncClient(address, transport="stream") as client:
            await client.cross_entropy(*MANY_SLABS)

    with traced() as trace:
        asyncio.run(evaluate())
        assert len(trace.named("evaluate cross_entropy")) == 2
        assert is_child(trace.only("grpc.health.v1.Health/Check"), trace.root)
        received = trace.only(f"{SERVICE}/Evaluate", SpanKind.SERVER)
        trace.check_below(received, "receive", "read", "launch", "reply", "send")


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_service_in_this_process_is_traced(transport):
    with testing.Service(tracing=True) as service, service.client(transport=transport) as client, traced() as trace:
        client.cross_entropy(*LARGE)
        _, _, received = check_way(trace, "Evaluate" if transport == "unary" else "EvaluateStream")
        assert "launch" in trace.below(received)


def test_traced_calls_leave_exemplars(tracing, address):
    with Client(address) as client, traced() as trace:
        client.cross_entropy(*SMALL)
        _, _, received = check_way(trace, "Evaluate")
    asked = urllib.request.Request(
        f"http://127.0.0.1:{tracing.metrics_port}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    scrape = urllib.request.urlopen(asked).read().decode()
    named = [line for line in scrape.splitlines() if f'trace_id="{format_trace_id(received.context.trace_id)}"' in line]
    names = {line.partition("{")[0] for line in named}
    assert names == {"grpc_server_handling_seconds_bucket", "losswire_stage_seconds_bucket"}
