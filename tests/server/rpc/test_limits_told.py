"""Limits as callers meet them: they are told, kept, and shown in the metrics."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, get_args

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import Client
from losswire_server import Server
from losswire_server.errors import Refusal
from losswire_server.metrics.connections import EndReason
from losswire_server.settings.callers import Callers
from losswire_server.settings.connections import Connections
from losswire_server.settings.sizes import Sizes
from tests.helpers import call_of, eventually, serving
from tests.server.calls.raw_streams import RawStream, connection
from tests.server.packs import small
from tests.server.requests.stream_requests import classes
from tests.server.rpc.receiving.waiting import ended_by

AT_ONCE_SECONDS = 0.005  # in which the server refuses


class Refused:
    """A call that was refused.

    Attributes:
        code: Its status.
        retry_seconds: When to try again, as the details and the metadata say it; None if they do not.
    """

    def __init__(self, error: grpc.RpcError) -> None:
        call = call_of(error)
        self.code = call.code()
        self.retry_seconds: float | None = None
        retry = error_details_pb2.RetryInfo()
        for detail in rpc_status.from_call(call).details:
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        pushback = dict(call.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
        assert (None if pushback is None else int(pushback) / 1000) == self.retry_seconds


def refusal(call: Callable[[], object]) -> Refused | None:
    try:
        call()
    except grpc.RpcError as error:
        return Refused(error)
    return None


@contextmanager
def limited(**settings: Any) -> Iterator[tuple[Server, LossServiceStub, LossServiceStub]]:
    """A server with limits, a caller, and another one."""
    with serving(**settings) as server, connection(server) as one, connection(server) as another:
        yield server, LossServiceStub(one), LossServiceStub(another)


def counted(server: Server, reason: str) -> float:
    return server.registry.get_sample_value("losswire_refused_calls_total", {"reason": reason}) or 0.0


def check(server: Server, call: Callable[[], object], other: LossServiceStub, reason: str) -> float:
    """A call is refused at once for a reason, which is counted, and another caller is served.

    Where time passes, a rate may permit some calls more, and a busy machine is late with some refusals.

    Returns:
        Seconds after which to try again.
    """
    for _ in range(20):
        before, seconds = counted(server, reason), handling_seconds(server)
        refused = refusal(call)
        took = handling_seconds(server) - seconds
        if refused is not None and took < AT_ONCE_SECONDS:
            break
    assert refused is not None
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.retry_seconds is not None
    assert 0 < refused.retry_seconds <= 60
    assert counted(server, reason) == before + 1
    assert took < AT_ONCE_SECONDS
    assert other.Evaluate(small()).row_count == 32
    return refused.retry_seconds


def handling_seconds(server: Server) -> float:
    return sum(
        sample.value
        for metric in server.registry.collect()
        for sample in metric.samples
        if sample.name == "grpc_server_handling_seconds_sum"
    )


def test_streams_under_way_are_limited():
    with limited(caller_streams=2) as (server, caller, another), connection(server) as channel, ExitStack() as streams:
        batch = classes()
        for _ in range(2):
            stream = RawStream(channel).send(batch.header(), batch.slab(0, 20))
            streams.callback(stream.close)
            stream.read()
        check(server, lambda: raise_of(RawStream(channel)), another, "caller_streams")
        assert LossServiceStub(channel).Evaluate(small()).row_count == 32  # calls are no streams
        assert caller.GetCapabilities(v1.GetCapabilitiesRequest()).caller_limits.max_streams == 2


def raise_of(stream: RawStream) -> None:
    raise stream.error()


def test_requests_under_way_are_limited():
    with limited(caller_requests=3, caller_streams=3) as (server, caller, another), ExitStack() as leases:
        for _ in range(3):
            lease = caller.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=1))
            leases.callback(lease.cancel)
            next(lease)
        check(server, lambda: caller.Evaluate(small()), another, "caller_requests")
        assert another.GetCapabilities(v1.GetCapabilitiesRequest()).caller_limits.max_requests == 3


def test_leases_are_limited():
    with limited(caller_leases=1) as (server, caller, another):
        lease = caller.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=1))
        next(lease)
        more = v1.LeaseSharedMemoryRequest(size_bytes=1)
        check(server, lambda: next(caller.LeaseSharedMemory(more)), another, "caller_leases")
        lease.cancel()


def test_requests_of_a_second_are_limited():
    with limited(caller_requests_per_second=1) as (server, caller, another):
        told = another.GetCapabilities(v1.GetCapabilitiesRequest()).caller_limits
        assert told.requests_per_second == 1
        for _ in range(2):  # a burst of two seconds
            assert caller.Evaluate(small()).row_count == 32
        seconds = check(server, lambda: caller.Evaluate(small()), another, "caller_requests_per_second")
        assert seconds <= 1
        time.sleep(seconds)
        assert caller.Evaluate(small()).row_count == 32  # the time told was the right one


def test_bytes_of_a_second_are_limited():
    size = small().ByteSize()
    with limited(caller_bytes_per_second=size / 2) as (server, caller, another):
        for _ in range(2):
            assert caller.Evaluate(small()).row_count == 32
        check(server, lambda: caller.Evaluate(small()), another, "caller_bytes_per_second")


def test_bytes_of_a_stream_are_limited_while_it_runs():
    logits, target = np.zeros((1500, 1000), np.float32), np.zeros(1500, np.int64)
    with (
        limited(caller_bytes_per_second=2e6, slab_bytes=2**18) as (server, _, another),
        Client(f"127.0.0.1:{server.port}", transport="stream") as client,
        ThreadPoolExecutor(1) as thread,
    ):
        start = time.monotonic()
        result = thread.submit(client.cross_entropy, logits, target, grad=True)
        for _ in range(5):
            assert another.Evaluate(small()).row_count == 32
        assert not result.done()
        assert result.result(20).row_count == 1500  # of 6 MB, of which 4 MB are a burst of two seconds
    assert 0.8 <= time.monotonic() - start < 10


def test_too_large_comes_without_a_time_to_try_again():
    with limited(max_inflight_bytes=16 * 2**20, max_message_bytes=4 * 2**20) as (server, caller, another):
        large = small(rows=80_000, outputs=v1.OutputSpec(outputs=[v1.Output.OUTPUT_PROBABILITIES]))
        large.outputs.gradient.dtype = v1.Dtype.DTYPE_FLOAT64
        refused = refusal(lambda: caller.Evaluate(large))  # 4 MB, and 19 MB for its answer, of a share of 12
        assert refused is not None
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.retry_seconds is None
        assert counted(server, "too_large") == 1
        assert another.Evaluate(small()).row_count == 32


def test_message_that_does_not_arrive_is_too_slow():
    with limited(send_seconds=0.3, idle_seconds=0.5) as (server, _, another), connection(server) as channel:
        silent: Any = channel.stream_unary("/losswire.v1.LossService/Evaluate")
        over = time.monotonic() + 20

        def nothing() -> Iterator[bytes]:
            while time.monotonic() < over:
                time.sleep(0.05)
            yield b""

        call, stream = silent.future(nothing()), RawStream(channel)
        for error in (call.exception(timeout=15), stream.error()):
            assert call_of(error).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        eventually(lambda: counted(server, "too_slow") == 2)
        over = 0
        assert another.Evaluate(small()).row_count == 32


def test_compressed_messages_are_refused():
    with limited() as (_, caller, another):
        with pytest.raises(grpc.RpcError) as refused:
            caller.Evaluate(small(rows=1000), compression=grpc.Compression.Gzip)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert another.Evaluate(small()).row_count == 32


def test_every_limit_is_told_and_shown():
    settings: dict[str, Any] = {
        "max_message_bytes": 2**19,
        "slab_bytes": 2**16,
        "shared_memory_bytes": 2**24,
        "max_batch_requests": 7,
        "max_inflight_bytes": 2**23,
        "max_connections": 99,
        "max_connection_calls": 88,
        "send_seconds": 7.5,
        "idle_seconds": 8.5,
        "max_connection_resets": 77.5,
        "keepalive_seconds": 66.5,
        "max_series": 55,
    }
    callers: dict[str, Any] = {"share": 0.25, "requests": 6, "streams": 5, "leases": 4}
    callers |= {"requests_per_second": 1000.5, "bytes_per_second": 1e9}
    with limited(**settings, **{f"caller_{name}": limit for name, limit in callers.items()}) as (server, caller, _):
        told = caller.GetCapabilities(v1.GetCapabilitiesRequest())
        assert told.limits == v1.Limits(**settings)
        expected: dict[str, Any] = {"max_inflight_bytes": 2**21, "max_requests": 6, "max_streams": 5, "max_leases": 4}
        expected |= {"shared_memory_bytes": 2**22, "requests_per_second": 1000.5, "bytes_per_second": 1e9}
        assert told.caller_limits == v1.CallerLimits(**expected)
        shown = {**settings, **{f"caller_{name}": limit for name, limit in expected.items()}}
        shown["max_queue_rows"] = told.batching.max_queue_rows
        assert {name for name in shown if limit_shown(server, name) != shown[name]} == set()
        (family,) = [family for family in server.registry.collect() if family.name == "losswire_limit"]
        assert len(family.samples) == len(shown)


def test_no_limit_of_the_settings_is_left_out(server):
    limits = {*Sizes.model_fields, *Connections.model_fields, *Callers.model_fields, "max_queue_rows", "max_series"}
    assert {name for name in limits if is_untold(server, name)} == {"caller_share"}  # a part of others, which are told


def is_untold(server: Server, setting: str) -> bool:
    names = setting, setting.replace("caller_", "caller_max_")
    return all(limit_shown(server, name) is None for name in names)


def limit_shown(server: Server, name: str) -> float | None:
    return server.registry.get_sample_value("losswire_limit", {"limit": name})


@pytest.mark.parametrize("reason", get_args(Refusal))
def test_every_reason_is_counted_from_the_start(reason, server):
    assert server.registry.get_sample_value("losswire_refused_calls_total", {"reason": reason}) is not None


@pytest.mark.parametrize("reason", get_args(EndReason))
def test_connections_ended_are_counted_from_the_start(reason, server):
    assert ended_by(server.registry, reason) == 0
