"""No call lasts longer than its timeout, and its error says how long that was."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire_client import AsyncClient, Client, DeadlineExceededError, Result, Retry, _retry
from tests.client.many.mapping import BOTH, mapped
from tests.client.wires.grpc_servers import NAME, answering

ROW = np.array([[0.5, 1.5, -1.0]], np.float32), [1]
LARGE = np.zeros((2000, 1000), np.float32), np.zeros(2000, np.int64)
CALLS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "cross_entropy": ({}, lambda c: c.cross_entropy(*ROW, timeout=0.125)),
    "its own": ({"timeout": 0.125}, lambda c: c.cross_entropy(*ROW)),
    "large": ({}, lambda c: c.cross_entropy(*LARGE, timeout=0.125)),
    "stream": ({"transport": "stream"}, lambda c: c.cross_entropy(*LARGE, timeout=0.125)),
    "shared memory": ({"transport": "shared_memory"}, lambda c: c.cross_entropy(*LARGE, timeout=0.125)),
    "coalesced": ({"coalesce": True}, lambda c: c.cross_entropy(*ROW, timeout=0.125)),
    "ping": ({}, lambda c: c.ping(timeout=0.125)),
    "capabilities": ({}, lambda c: c.capabilities(timeout=0.125)),
    "empty": ({}, lambda c: c.empty(3, timeout=0.125)),
}


def outcome(client: Client | AsyncClient, call: Callable[[Any], Any]) -> Any:
    if isinstance(client, Client):
        with client:
            return call(client)

    async def awaited():
        async with client:
            return await call(client)

    return asyncio.run(awaited())


@pytest.fixture(scope="module")
def slow_target() -> Iterator[str]:
    """The address of a server that says at once that it serves everything, but answers no other call in time."""

    def served(*_: object) -> v1.GetCapabilitiesResponse:
        limits = v1.Limits(max_batch_requests=100, max_message_bytes=2**26, slab_bytes=2**20)
        return v1.GetCapabilitiesResponse(limits=limits, transports=v1.Transport.values()[1:])

    def evaluated(_: object, call: grpc.ServicerContext) -> bytes:
        given_up = threading.Event()
        call.add_callback(given_up.set)
        given_up.wait(60)
        return b""

    def streamed(_: object, call: grpc.ServicerContext) -> Iterator[bytes]:
        yield evaluated(_, call)

    server = grpc.server(ThreadPoolExecutor(32))
    handlers = {
        "GetCapabilities": grpc.unary_unary_rpc_method_handler(
            served, v1.GetCapabilitiesRequest.FromString, v1.GetCapabilitiesResponse.SerializeToString
        ),
        "Evaluate": grpc.unary_unary_rpc_method_handler(evaluated),
        "BatchEvaluate": grpc.unary_unary_rpc_method_handler(evaluated),
        "EvaluateStream": grpc.stream_stream_rpc_method_handler(streamed),
        "LeaseSharedMemory": grpc.unary_stream_rpc_method_handler(streamed),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@BOTH
@pytest.mark.parametrize("case", CALLS)
def test_error_tells_the_given_timeout(silent_target, slow_target, kind, case):
    options, call = CALLS[case]
    target = silent_target if case in ("its own", "ping", "capabilities") else slow_target
    with pytest.raises(DeadlineExceededError) as raised:
        outcome(kind(target, **options), call)
    assert str(raised.value) == f"no answer from {target} within 0.125 seconds"


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
def test_late_chunk_ends_a_map(slow_target, kind, coalesce):
    start = time.monotonic()
    # With coalescing, a busy machine may be late with the server's limits, before there is any batch.
    message = rf"^{'(batch 0: )?' if coalesce else 'batch 0: '}no answer from {slow_target} within 0\.125 seconds$"
    with pytest.raises(DeadlineExceededError, match=message):
        list(mapped(kind(slow_target, coalesce=coalesce), [ROW] * 16, timeout=0.125))
    assert time.monotonic() - start < 2  # sixteen calls one after another would take longer


@BOTH
@pytest.mark.parametrize("coalesce", [False, True])
def test_map_batch_may_have_a_timeout(slow_target, kind, coalesce):
    batches = [{"input": ROW[0], "target": ROW[1], "timeout": 0.125}]
    with pytest.raises(DeadlineExceededError, match=r"within 0\.125 seconds"):
        list(mapped(kind(slow_target, coalesce=coalesce), batches, timeout=30))


@BOTH
def test_coalesced_calls_keep_their_timeouts(slow_target, kind):
    timeouts = (0.2, 0.25, 0.3, 0.15, 0.35, 0.1)
    if kind is Client:
        with Client(slow_target, coalesce=True) as client, ThreadPoolExecutor(len(timeouts)) as pool:
            found = list(pool.map(lambda seconds: timed_out(client, seconds), timeouts))
    else:

        async def gathered():
            async with AsyncClient(slow_target, coalesce=True) as client:
                calls = (client.cross_entropy(*ROW, timeout=seconds) for seconds in timeouts)
                return await asyncio.gather(*calls, return_exceptions=True)

        found = asyncio.run(gathered())
    assert [str(error) for error in found] == [f"no answer from {slow_target} within {s} seconds" for s in timeouts]


def timed_out(client: Client, seconds: float) -> Exception:
    with pytest.raises(DeadlineExceededError) as raised:
        client.cross_entropy(*ROW, timeout=seconds)
    return raised.value


@pytest.mark.parametrize(
    ("timeout", "told"), [(60, "60"), (2_592_000, "2592000"), (np.float32(40.5), "40.5"), (Fraction(121, 4), "30.25")]
)
def test_timeout_is_told_as_it_was_written(timeout, told):
    with answering() as server, Client(server.target, timeout=timeout) as client:
        server.refusals.append((grpc.StatusCode.DEADLINE_EXCEEDED, "of the server's own", ()))
        with pytest.raises(DeadlineExceededError, match=rf"within {told} seconds$"):
            client.cross_entropy(*ROW)


def test_retried_call_tells_its_whole_timeout():
    with answering() as server, Client(server.target, timeout=7, retry=Retry(first_pause=0.01)) as client:
        server.refusals += [
            (grpc.StatusCode.UNAVAILABLE, "on its way", ()),
            (grpc.StatusCode.DEADLINE_EXCEEDED, "of the server's own", ()),
        ]
        with pytest.raises(DeadlineExceededError, match=rf"^no answer from {server.target} within 7 seconds$"):
            client.cross_entropy(*ROW)


def test_log_tells_the_time_of_retries(caplog, monkeypatch):
    monkeypatch.setattr(_retry, "_last_news", -_retry.NEWS_SECONDS)
    with answering() as server, Client(server.target, retry=Retry(first_pause=0.01)) as client:
        server.refusals.append((grpc.StatusCode.UNAVAILABLE, "on its way", ()))
        assert isinstance(client.cross_entropy(*ROW, timeout=8), Result)
    assert caplog.records[0].getMessage().startswith("trying again for up to 8 seconds: ")
