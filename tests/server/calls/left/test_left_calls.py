"""Calls that end too early at any stage: nothing is computed for them, and nothing of them is held."""

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import pytest

import ce_engine
import losswire_server.calls.work
from losswire_server import Server
from losswire_server.calls.evaluation import ANYBODY, LEAVING_SECONDS, Caller, Evaluation
from tests.helpers import eventually, serving
from tests.server.calls.gate import gated
from tests.server.calls.left.stages import (
    EVALUATE,
    LEASE,
    LOSSES,
    STAGES,
    STREAM,
    WATCH,
    Place,
    RawCall,
    arriving,
    before_a_reader,
    before_a_worker,
    busy_readers,
    check_as_it_was,
    held,
    packed,
    waiting_for_a_turn,
    waiting_to_be_known,
    waiting_to_be_taken_in,
)
from tests.server.calls.raw_streams import connection
from tests.server.requests.stream_requests import classes

SECONDS = 1.5  # until a deadline, in which a call comes to its stage
EVALUATED = {  # also of calls of another caller
    arriving: 0,
    waiting_for_a_turn: 0,
    waiting_to_be_taken_in: 0,
    waiting_to_be_known: 0,
    before_a_reader: 0,
    before_a_worker: 1,
}
QUICK = (
    *("Evaluate waits to be taken in", "Evaluate waits for a reader"),
    *("Evaluate waits for a worker", "EvaluateStream waits for a worker"),
)
CASES = [
    *(pytest.param(way, stage, id=f"{stage}, {way}") for way in ("cancel", "disconnect") for stage in STAGES),
    *(
        pytest.param("deadline", stage, id=f"{stage}, deadline", marks=[] if stage in QUICK else pytest.mark.slow)
        for stage in STAGES
        if "not read" not in stage
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(engine_workers=1, max_connection_resets=0) as running, connection(running) as channel:
        with busy_readers(running):
            pass
        assert len(list(RawCall(channel, LOSSES + "Evaluate").send(EVALUATE).end().call)) == 1  # starts threads
        yield running


def ended(server: Server, code: str) -> float:
    samples = [sample for metric in server.registry.collect() for sample in metric.samples]
    handled = [sample for sample in samples if sample.name == "grpc_server_handled_total"]
    return sum(sample.value for sample in handled if sample.labels["grpc_code"] == code)


@pytest.mark.parametrize(("way", "stage"), CASES)
def test_call_that_ends_early_is_not_held(monkeypatch, server, way, stage):
    monkeypatch.setattr(losswire_server.calls.work, "AT_ONCE_SECONDS", 0)  # without this, slabs never wait
    reach, path, messages = STAGES[stage]
    with gated(monkeypatch) as gate, connection(server) as channel:
        eventually(lambda: held(server)[:4] == (0, 0, 0, 0))
        before, counted = held(server), ended(server, "Cancelled") + ended(server, "DeadlineExceeded")
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        of_its_own = grpc.insecure_channel(f"127.0.0.1:{server.port}", options)
        begin = partial(RawCall, of_its_own, timeout=SECONDS if way == "deadline" else None)
        with reach(Place(server, gate, begin, partial(RawCall, channel)), path, *messages) as call:
            _leave(call, of_its_own, way)
            if path != WATCH:
                eventually(lambda: ended(server, "Cancelled") + ended(server, "DeadlineExceeded") == counted + 1)
        call.end()
        of_its_own.close()
        gate.opened.set()
        check_as_it_was(server, before)
        assert gate.evaluated == EVALUATED.get(reach, gate.evaluated)


def _leave(call: RawCall, channel: grpc.Channel, way: str) -> None:
    if way == "disconnect":
        channel.close()
        return
    if way == "cancel":
        call.call.cancel()
    with pytest.raises(grpc.RpcError) as raised:
        list(call.call)
    expected = grpc.StatusCode.CANCELLED if way == "cancel" else grpc.StatusCode.DEADLINE_EXCEEDED
    assert raised.value.code() is expected


class Message:
    """Stands for the bytes of a message, which have no weak references."""


def test_cancelled_work_frees_its_message_before_its_turn(server):
    """The queue of a reader keeps what was cancelled until its turn comes."""
    workplace = server._backend._workplace
    with busy_readers(server):
        message, evaluation = Message(), Evaluation(workplace, ANYBODY)
        freed = weakref.ref(message)
        work: Callable[[], object] = partial(id, message)
        reading = asyncio.run_coroutine_threadsafe(evaluation.read(work), server._loop)
        eventually(lambda: workplace.readers._work_queue.qsize() == 1)
        del message, work
        assert freed() is not None
        server._loop.call_soon_threadsafe(evaluation.close)
        with pytest.raises(ce_engine.EngineClosedError):
            reading.result(20)
        del reading
        eventually(lambda: freed() is None)
        assert workplace.readers._work_queue.qsize() == 1


def test_expired_work_is_not_begun(server):
    begun: list[int] = []
    evaluation = Evaluation(server._backend._workplace, Caller(deadline=time.monotonic()))
    reading = asyncio.run_coroutine_threadsafe(evaluation.read(partial(begun.append, 1)), server._loop)
    with pytest.raises(ce_engine.DeadlineExceededError):
        reading.result(20)
    assert begun == []


def test_call_without_its_message_is_refused_once_its_deadline_has_passed():
    """Its message did not come, since its caller has left; gRPC may tell that late."""
    with pytest.raises(ce_engine.DeadlineExceededError):
        asyncio.run(Caller(deadline=time.monotonic() + LEAVING_SECONDS / 2).check_leaving())


MANY = 10_000
AT_A_TIME = 100
WRONG = b"\xff"
FOR_READERS = classes(rows=(40,), count=1024)  # 160 KB: hardly more than what the event loop reads
KINDS: dict[str, tuple[str, list[bytes]]] = {
    "Evaluate": (LOSSES + "Evaluate", [FOR_READERS.request.SerializeToString()]),
    "BatchEvaluate": (LOSSES + "BatchEvaluate", [packed(FOR_READERS.request)]),
    "EvaluateStream": (LOSSES + "EvaluateStream", STREAM[:2]),
    "LeaseSharedMemory": (LOSSES + "LeaseSharedMemory", [LEASE]),
    "Watch": (WATCH, [b""]),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["cancelled", "expired", "refused"])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_calls_leave_nothing(server, kind, way):
    path, messages = KINDS[kind]
    with connection(server) as channel:
        _make(channel, path, messages, way, 500)
        eventually(lambda: held(server)[:4] == (0, 0, 0, 0))
        before, files = held(server), len(os.listdir("/proc/self/fd"))
        for _ in range(MANY // AT_A_TIME):
            _make(channel, path, messages, way, AT_A_TIME)
        check_as_it_was(server, before)
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= files)  # a thread may be asking about a connection


def _make(channel: grpc.Channel, path: str, messages: list[bytes], way: str, count: int) -> None:
    """Makes calls that end like this, in every state that they come to in the meantime."""
    begin: Any = channel.stream_stream(path)
    sent = [WRONG] if way == "refused" else messages
    calls = [begin(iter(sent), timeout=0.0002 * i if way == "expired" else 60) for i in range(1, count + 1)]
    for call in calls:
        if way == "cancelled":
            call.cancel()
        with pytest.raises(grpc.RpcError) if way == "refused" else suppress(grpc.RpcError):
            list(call)
