"""Slabs that wait for the engine: none starves, none takes all the room, and late or cancelled slabs are dropped."""

import time
from concurrent.futures import CancelledError, as_completed, wait

import pytest

import ce_engine
from ce_engine import Engine
from tests.ce_engine.engine.holding import held, slab


def test_kinds_of_one_caller_take_turns(monkeypatch):
    with held(monkeypatch, max_batch_rows=4) as (engine, go, launches):
        for _ in range(6):
            engine.submit(slab(classes=5))
        engine.submit(slab(classes=6))
        go.set()
    assert [launch[0].kind.class_count for launch in launches[:2]] == [5, 6]


def test_companions_come_from_each_caller(monkeypatch):
    with held(monkeypatch, max_batch_rows=6) as (engine, go, launches):
        submitted = {caller: [slab() for _ in range(5)] for caller in "abc"}
        for caller, waiting in submitted.items():
            for one in waiting:
                engine.submit(one, caller=caller)
        go.set()
    assert all(sum(one in waiting for one in launches[0]) == 1 for waiting in submitted.values())


def test_empty_slabs_fill_the_queue_too(monkeypatch):
    with held(monkeypatch, max_queue_rows=8) as (engine, _, _):
        for _ in range(4):
            engine.submit(slab(rows=0))
        with pytest.raises(ce_engine.QueueFullError):
            engine.submit(slab(rows=0))


def test_oversized_slab_leaves_room(monkeypatch):
    with held(monkeypatch, max_queue_rows=16) as (engine, _, _):
        engine.submit(slab(rows=100), caller="large")
        assert engine.submit(slab(), caller="small")


def test_flood_does_not_starve_others(monkeypatch):
    with held(monkeypatch, max_batch_rows=4) as (engine, go, launches):
        flood = [engine.submit(slab(), caller="flood") for _ in range(100)]
        quiet = slab(seed=1)
        future = engine.submit(quiet, caller="quiet")
        go.set()
        future.result(20)
        wait(flood, 20)
    assert quiet in launches[0]


def test_callers_take_turns_slab_by_slab(monkeypatch):
    with held(monkeypatch, max_batch_rows=1) as (engine, go, launches):
        for number in range(3):
            for caller in "aab":
                engine.submit(slab(rows=3 if caller == "a" else 2, classes=5 + number), caller=caller)
        go.set()
    assert [launch[0].row_count for launch in launches[:6]] == [2, 3, 2, 3, 2, 3]


def test_flood_leaves_room_in_the_queue(monkeypatch):
    with held(monkeypatch, max_queue_rows=16) as (engine, _, _):
        for _ in range(4):
            engine.submit(slab(), caller="flood")
        with pytest.raises(ce_engine.QueueFullError, match="8 rows wait, 8 of them this caller's: no room for 2 more"):
            engine.submit(slab(), caller="flood")
        for _ in range(2):
            engine.submit(slab(), caller="quiet")
        with pytest.raises(ce_engine.QueueFullError):
            engine.submit(slab(), caller="quiet")
        assert engine.submit(slab(rows=1), caller="third")


def test_empty_queue_takes_any_slab():
    with Engine(max_queue_rows=1) as engine:
        assert engine.submit(slab(rows=50)).result(20).row_count == 50


def test_cancelled_slab_leaves_the_queue(monkeypatch):
    with held(monkeypatch) as (engine, go, launches):
        stays, leaves = engine.submit(slab()), engine.submit(slab(rows=3))
        assert leaves.cancel()
        assert engine.waiting_rows == 2
        go.set()
        assert stays.result(20)
        with pytest.raises(CancelledError):
            leaves.result(0)
    assert [len(launch) for launch in launches] == [1]


def test_cancelled_slab_is_not_waited_for(monkeypatch):
    with held(monkeypatch) as (engine, go, _):
        leaves = engine.submit(slab())
        leaves.cancel()
        assert wait([leaves], 20).done == {leaves}
        assert list(as_completed([leaves], 20)) == [leaves]
        go.set()


def test_launch_does_not_wait_until_a_slab_is_late():
    with Engine(max_queue_delay_us=60 * 10**6) as engine:
        patient = engine.submit(slab())
        assert engine.submit(slab(classes=6), deadline=time.monotonic() + 60).result(20)
        assert patient.done()


def test_late_slab_is_not_launched(monkeypatch):
    with held(monkeypatch) as (engine, go, launches):
        late = engine.submit(slab(), deadline=time.monotonic() - 1)
        in_time = engine.submit(slab(), deadline=time.monotonic() + 60)
        go.set()
        assert in_time.result(20)
        with pytest.raises(ce_engine.DeadlineExceededError):
            late.result(20)
    assert [len(launch) for launch in launches] == [1]
