"""Where the desk has work done: on the event loop, by a reader, or by the engine."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry

from losswire_server.calls.evaluation import ANYBODY, Workplace
from losswire_server.calls.work import READ_AT_ONCE_BYTES
from losswire_server.requests.planned import Planned
from tests.server.calls.desk.controlled_work import (
    IN_THREADS,
    INVALID,
    LONG,
    SHORT,
    DeskServer,
    Work,
    WorkThatTakesLong,
    answer,
    answer_pack,
    desk_at,
    evaluated,
    slab,
)


def test_short_work_is_done_where_it_arrives(server):
    work = Work(SHORT, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "end here", "answer here"]


def test_short_work_does_not_wait_for_long_work(server):
    go_on = threading.Event()
    server.hold_up(go_on)
    assert answer(server, Work(SHORT, evaluated())) == b"answer"
    go_on.set()


def test_long_work_is_done_in_threads(server):
    work = Work(LONG, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", *IN_THREADS]


def test_long_work_may_be_planned_at_once(server):
    work = Work(LONG, evaluated(), planning_seconds=SHORT)
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "plan here", "end in the engine", "answer here"]


def test_long_answer_is_written_by_a_reader(server):
    work = Work(LONG, evaluated(), writing_seconds=LONG)
    assert answer(server, work) == b"answer"
    assert work.where[-1] == "answer in a reader"


@pytest.mark.parametrize(
    ("size", "where"), [(READ_AT_ONCE_BYTES, "end here"), (READ_AT_ONCE_BYTES + 1, "end in the engine")]
)
def test_large_message_is_read_by_a_reader(size, where):
    server, work = DeskServer(2 * READ_AT_ONCE_BYTES), Work(SHORT, evaluated())
    assert answer(server, work, bytes(size)) == b"answer"
    assert where in work.where
    server.close()


def test_on_a_gpu_all_work_is_queued(server, monkeypatch):
    monkeypatch.setattr(server.engine, "device", torch.device("cuda"))
    desk = desk_at(Workplace(server.admission, server.readers, server.engine), CollectorRegistry())
    work = Work(SHORT, evaluated(), planning_seconds=SHORT)
    assert asyncio.run(desk.answer(b"data", work.read, ANYBODY)) == b"answer"
    assert work.where == ["read 4 here", "plan here", "end in the engine", "answer here"]


def test_work_done_again_counts_once(server):
    work = WorkThatTakesLong(SHORT, evaluated(), INVALID)
    assert answer_pack(server, work) == b"answer"
    assert work.where[:4] == ["read 4 here", "begin here", *IN_THREADS[:2]]
    assert (server.rows, server.ended("OK"), server.ended("InvalidArgument")) == (1, 1, 1)


def test_failed_evaluation_is_done_in_another_way(server):
    class Failing(Work):
        def _fail(self, error: Exception) -> Iterator[Any]:
            assert isinstance(error, RuntimeError)
            yield INVALID
            yield Planned(slab(), lambda _: evaluated(2), self._fail)

    assert answer_pack(server, Failing(LONG, RuntimeError(), evaluated())) == b"answer"
    assert (server.ended("OK"), server.ended("InvalidArgument")) == (3, 1)
