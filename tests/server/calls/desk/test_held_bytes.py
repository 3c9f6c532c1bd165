"""The bytes that calls hold at the desk: refused, in flight, and given back by whoever leaves."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

import ce_engine
from losswire_server.calls.evaluation import ANYBODY, Caller
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.requests.ends import Evaluated
from losswire_server.requests.needed import Reserve
from losswire_server.requests.planned import Planned
from losswire_server.settings.sizes import MESSAGE_COPIES
from tests.helpers import eventually
from tests.server.calls.desk.controlled_work import (
    IN_THREADS,
    LONG,
    SHORT,
    DeskServer,
    Work,
    answer,
    evaluated,
    leave,
    slab,
)


def test_late_work_ends_its_call(server):
    go_on = threading.Event()
    server.hold_up(go_on)
    late = Caller("late", time.monotonic() - 1)
    work = Work(LONG, evaluated())
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(ce_engine.DeadlineExceededError):
        asyncio.run(server.desk.answer(b"data", work.read, late))
    assert "end in the engine" not in work.where
    eventually(lambda: server.admission.inflight_bytes == 0)


def test_full_queue_refuses_the_call():
    server, go_on = DeskServer(max_queue_rows=2), threading.Event()
    server.hold_up(go_on)
    server.engine.submit(slab(), caller="another")
    with pytest.raises(OverloadedError, match="rows wait"):
        answer(server, Work(LONG, evaluated(), evaluated()))
    assert server.engine.waiting_rows == 1  # its first slab has left
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    server.close()


def test_what_does_not_fit_is_refused_unread(server):
    work = Work(SHORT, evaluated())
    server.admission.reservation().resize(97)
    with pytest.raises(OverloadedError, match="97 of at most 100 bytes are in flight, and this needs 12 more"):
        answer(server, Work(LONG))
    with pytest.raises(TooLargeError, match="this call needs 101 bytes, and a caller may have at most 100 in flight"):
        answer(server, Work(LONG), bytes(101))
    assert answer(server, work) == b"answer"  # the work is over before anybody could ask for its bytes
    assert server.admission.inflight_bytes == 97


def test_bytes_are_in_flight_until_the_answer(server):
    held = []

    def look() -> Evaluated:
        held.append(server.admission.inflight_bytes)
        return evaluated()

    answer(server, Work(LONG, look))
    assert held == [4]
    eventually(lambda: server.admission.inflight_bytes == 0)


def test_leaving_amid_work_holds_bytes(server):
    go_on, begun = threading.Event(), threading.Event()

    def wait() -> Evaluated:
        begun.set()
        assert go_on.wait(20)
        return evaluated()

    asyncio.run(leave(server.desk.answer_pack(b"data", Work(LONG, wait).read, ANYBODY), begun.is_set))
    assert server.admission.inflight_bytes == 4
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    assert (server.rows, server.ended("OK")) == (0, 0)


def test_leaving_the_queue_costs_nothing(server):
    go_on, work = threading.Event(), Work(LONG, evaluated())
    server.hold_up(go_on)
    asyncio.run(leave(server.desk.answer(b"data", work.read, ANYBODY), lambda: server.engine.waiting_rows == 1))
    assert (server.admission.inflight_bytes, server.engine.waiting_rows) == (0, 0)
    go_on.set()
    server.close()
    assert work.where == ["read 4 here", *IN_THREADS[:2]]


def test_leaving_before_the_reading_costs_nothing(server):
    go_on, work = threading.Event(), Work(LONG, evaluated())
    server.readers.submit(go_on.wait, 20)
    call = server.desk.answer(b"data", work.read, ANYBODY)
    asyncio.run(leave(call, lambda: server.admission.inflight_bytes == MESSAGE_COPIES * 4))
    assert server.admission.inflight_bytes == 0
    go_on.set()
    server.close()
    assert work.where == ["read 4 here"]


def test_leaving_amid_the_reading_queues_nothing(server):
    reading, go_on = threading.Event(), threading.Event()

    class SlowlyRead(Work):
        def plan(self, reserve: Reserve) -> Iterator[Planned]:
            reading.set()
            assert go_on.wait(20)
            return super().plan(reserve)

    work = SlowlyRead(LONG, evaluated())
    asyncio.run(leave(server.desk.answer(b"data", work.read, ANYBODY), reading.is_set))
    assert server.admission.inflight_bytes == MESSAGE_COPIES * 4
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    server.close()
    assert "end in the engine" not in work.where
