"""Streams that run at their own pace: a caller that does not read, and a caller that does not stop."""

import itertools
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

import ce_engine
from losswire.frames import REQUESTS, SlabFrame
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from losswire_server.calls import work
from losswire_server.calls.streams import slabs
from tests.helpers import eventually, serving
from tests.present import present
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.gate import Gate, gated
from tests.server.calls.raw_streams import METHOD, Batch, RawStream, answers, connection, stream_call
from tests.server.requests.stream_requests import GRADIENT, MEAN, check_served, classes

ROWS = 256  # of each slab, of 1 MiB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(engine_workers=1) as running:
        yield running


def received(server: Server) -> float:
    return server.registry.get_sample_value("grpc_server_msg_received_total", METHOD) or 0


def wait_until_it_stalls(server: Server) -> None:
    """Waits until the server has taken no message for a while."""
    seen, since = received(server), time.monotonic()

    def stalls() -> bool:
        nonlocal seen, since
        if received(server) != seen:
            seen, since = received(server), time.monotonic()
        return time.monotonic() - since > 0.5

    eventually(stalls)


@contextmanager
def stalled(server: Server, batch: Batch) -> Iterator[RawStream]:
    """A stream that has stalled because nobody reads its results."""
    before = received(server)
    with connection(server) as channel:
        stream = RawStream(channel).send(batch.header(), *batch.slabs(ROWS)).end()
        eventually(lambda: received(server) > before + 3)
        wait_until_it_stalls(server)
        assert received(server) < before + 1 + batch.layout.row_count // ROWS
        yield stream


def test_unread_results_hold_up_slabs(server):
    batch, before = classes((60 * ROWS,), 1024, outputs=GRADIENT), received(server)
    with stalled(server, batch) as stream:
        assert received(server) < before + 24  # 16 MiB is the most that gRPC's windows grow to on one machine
        assert (
            server.registry.get_sample_value("losswire_inflight_bytes") < 16 * 2**20
        )  # what gRPC has read ahead counts too
        with connection(server) as another:
            check_served(another)
        slabs = [stream.read() for _ in range(60)]
        assert [slab.first_row for slab in slabs if isinstance(slab, SlabFrame)] == [ROWS * i for i in range(60)]
        assert stream.read().row_count == 60 * ROWS


def test_leaving_without_reading_holds_nothing(server):
    with stalled(server, classes((60 * ROWS,), 1024, outputs=GRADIENT)) as stream:
        stream.call.cancel()
        eventually(lambda: server.registry.get_sample_value("losswire_inflight_bytes") == 0)


@pytest.mark.slow
def test_slow_readers_hold_up_nobody(server):
    batch = classes((60 * ROWS,), 1024, outputs=GRADIENT)
    with stalled(server, batch), stalled(server, batch), stalled(server, batch), connection(server) as another:
        check_served(another)
        stub = loss_service_pb2_grpc.LossServiceStub(another)
        assert stub.Evaluate(classes((100,), 1000).request).row_count == 100


@contextmanager
def endless(server: Server) -> Iterator[None]:
    """A stream that sends slabs as fast as they are taken."""
    batch, stopped = classes((ROWS,), 1024, outputs=GRADIENT), threading.Event()
    payloads = {name: memoryview(batch.elements(name, 0, ROWS)) for name in batch.open}
    batch.request.input.shape[0] = batch.request.target.shape[0] = 2**40

    def messages() -> Iterator[bytes]:
        yield batch.header()
        for i in itertools.takewhile(lambda _: not stopped.is_set(), itertools.count()):
            yield REQUESTS.write(i * ROWS, ROWS, payloads)

    def read() -> None:
        with connection(server) as channel, pytest.raises(grpc.RpcError):
            for _ in stream_call(channel)(messages()):
                pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        stopped.set()
        reader.join()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [10, 100], ids=["in the event loop", "in the engine"])
def test_endless_stream_takes_turns(server, rows):
    request = classes((rows,), 500).request
    with connection(server) as channel, endless(server):
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        eventually(lambda: received(server) > 5)
        turns = []
        for _ in range(50):
            before = received(server)
            assert stub.Evaluate(request).row_count == rows
            turns.append(received(server) - before)
        assert sorted(turns)[25] < 10  # in most turns, few slabs came in between
        before = received(server)
        eventually(lambda: received(server) > before)


@pytest.mark.parametrize(("short_seconds", "place"), [(0, "ce-engine"), (math.inf, "Thread")], ids=["long", "short"])
def test_long_slabs_leave_the_event_loop(server, monkeypatch, short_seconds, place):
    batch = classes((60,), outputs=GRADIENT)
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", short_seconds)
    with connection(server) as channel, gated(monkeypatch) as gate:
        gate.opened.set()
        came = answers(channel, [batch.header(), *batch.slabs(5)])
    assert 1 < len(gate.threads) <= 12  # the engine evaluates slabs together that wait together
    assert all(name.startswith(place) for name in gate.threads)
    with connection(server) as channel:
        batch.check(channel, came)


def compute_for_a_while() -> None:
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass


def test_first_slabs_show_whether_the_others_are_long(server, monkeypatch):
    batch = classes((60,), outputs=GRADIENT)
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", 2e-5)  # less than they take, and more than is hoped for
    with connection(server) as channel, gated(monkeypatch) as gate:
        gate.opened.set()
        gate.before = compute_for_a_while
        came = answers(channel, [batch.header(), *batch.slabs(5)])
    here = [name.startswith("Thread") for name in gate.threads]
    others = len(here) - slabs.TRIALS
    assert 0 < others <= 12 - slabs.TRIALS  # the engine evaluates slabs together that wait together
    assert here == [True] * slabs.TRIALS + [False] * others
    with connection(server) as channel:
        batch.check(channel, came)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", 0)  # without this, small slabs are evaluated where they arrive
    with gated(monkeypatch) as gate:
        yield gate


def test_slabs_are_in_flight_together(gate):
    batch = classes(outputs=GRADIENT)
    with serving(engine_workers=3, max_batch_rows=1) as other, connection(other) as channel:
        stream = RawStream(channel).send(batch.header(), *batch.slabs(10)).end()
        for _ in range(3):  # as many as there are workers, with no result read
            assert gate.arrived.acquire(timeout=20)
        eventually(lambda: other.registry.get_sample_value("losswire_queued_rows") == 30)
        gate.opened.set()
        batch.check(channel, [stream.read() for _ in range(7)])


def test_replies_come_in_row_order(monkeypatch):
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", 0)
    first_may_end, evaluate = threading.Event(), ce_engine.cpu.evaluate

    def late(kind: Any, input: Any, *operands: Any, **options: Any) -> Any:
        if len(input) == 20:
            assert first_may_end.wait(20)
        return evaluate(kind, input, *operands, **options)

    batch = classes(outputs=GRADIENT, reduction=MEAN)
    batch.open = ["input"]
    slabs = [batch.slab(0, 20), batch.slab(20, 10), batch.slab(30, 30)]
    with serving(engine_workers=2, max_batch_rows=1) as other, connection(other) as channel:
        replace_evaluation(monkeypatch, late)
        stream, launches = RawStream(channel).send(batch.header(), *slabs).end(), "losswire_launch_rows_count"
        eventually(lambda: other.registry.get_sample_value(launches) == 3)  # one worker has done all but the first
        first_may_end.set()
        batch.check(channel, [stream.read() for _ in range(4)])


def test_refused_slab_has_its_turn(gate):
    batch = classes(outputs=GRADIENT)
    with serving(engine_workers=1) as other, connection(other) as channel:
        stream = RawStream(channel).send(batch.header(), batch.slab(0, 20), batch.slab(20, 20), batch.slab(50, 10))
        assert gate.arrived.acquire(timeout=20)
        gate.opened.set()
        assert [slab.first_row for slab in (stream.read(), stream.read()) if isinstance(slab, SlabFrame)] == [0, 20]
        assert stream.error().code() is grpc.StatusCode.INVALID_ARGUMENT
        eventually(lambda: other.registry.get_sample_value("losswire_inflight_bytes") == 0)


def test_leaving_takes_slabs_out_of_the_queue(gate):
    batch = classes(outputs=GRADIENT)
    with serving(engine_workers=1, max_batch_rows=1) as other, connection(other) as channel:
        stream = RawStream(channel).send(batch.header(), *batch.slabs(10))
        assert gate.arrived.acquire(timeout=20)
        eventually(lambda: other.registry.get_sample_value("losswire_queued_rows") == 50)
        stream.close()
        eventually(lambda: other.registry.get_sample_value("losswire_queued_rows") == 0)
        assert present(other.registry.get_sample_value("losswire_inflight_bytes")) > 0  # of the slab that is evaluated
        gate.opened.set()
        eventually(lambda: other.registry.get_sample_value("losswire_inflight_bytes") == 0)
        assert gate.evaluated == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [(ZeroDivisionError, grpc.StatusCode.INTERNAL), (MemoryError, grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
def test_failing_slab_ends_its_stream_alone(monkeypatch, fault, code):
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", 0)
    evaluate = ce_engine.cpu.evaluate

    def fail(kind: Any, input: Any, *operands: Any, **options: Any) -> Any:
        if len(input) == 7:
            raise fault
        return evaluate(kind, input, *operands, **options)

    replace_evaluation(monkeypatch, fail)
    batch = classes(outputs=GRADIENT)
    with serving(max_batch_rows=1) as other, connection(other) as channel:  # else slabs of both may be one launch
        guilty = RawStream(channel).send(batch.header(), batch.slab(0, 20), batch.slab(20, 7), batch.slab(27, 33)).end()
        innocent = RawStream(channel).send(batch.header(), *batch.slabs(20)).end()
        assert guilty.error().code() is code
        batch.check(channel, [innocent.read() for _ in range(4)])
        eventually(lambda: other.registry.get_sample_value("losswire_inflight_bytes") == 0)
