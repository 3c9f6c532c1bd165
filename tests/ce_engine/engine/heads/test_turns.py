"""Slabs in parts among others: turns, cancellations, deadlines, errors and the end of the engine."""

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head
from ce_engine._batching import queue
from tests.ce_engine.engine.heads.slabs_of_heads import CLASSES, TILE, WIDTH, Gate, hidden
from tests.ce_engine.engine.holding import held, slab
from tests.helpers import eventually


def test_others_are_served_between_the_parts_of_a_long_slab(monkeypatch, head):
    with held(monkeypatch) as (engine, go, launches):
        long = engine.submit(hidden(head, 20 * TILE), caller="long")
        short = engine.submit(slab(), caller="short")
        go.set()
        short.result(20)
        long.result(20)
    order = [launch[0].kind.loss for launch in launches]
    assert order.count("linear_cross_entropy") == 20
    assert order.index("cross_entropy") <= 2


def test_two_callers_take_turns_by_tiles(monkeypatch, head):
    other = Head(torch.randn(CLASSES, WIDTH))
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(hidden(one, 10 * TILE), caller=id(one)) for one in (head, other)]
        go.set()
        for future in futures:
            future.result(20)
    heads = [launch[0].kind.head is head for launch in launches]
    assert all(sum(heads[start : start + 2]) == 1 for start in range(0, 20, 2))


def test_slab_that_waits_is_cancelled_at_once(monkeypatch, head):
    with held(monkeypatch) as (engine, go, launches):
        future = engine.submit(hidden(head, 5 * TILE))
        assert engine.waiting_rows == 5 * TILE
        assert future.cancel()
        assert future.cancelled()
        assert future.cancel()  # again
        assert engine.waiting_rows == 0
        go.set()
    assert launches == []


def test_cancelling_between_parts_evaluates_no_more_of_them(monkeypatch, head):
    gate = Gate(monkeypatch)
    one = hidden(head, 5 * TILE)
    memory = weakref.ref(one.input)
    with Engine() as engine:
        future = engine.submit(one)
        del one
        assert gate.reached.wait(20)
        assert not future.cancel()  # its memory is in use
        assert not future.done()
        assert engine.waiting_rows == 0
        gate.launches.clear()
        gate.go.set()
        with pytest.raises(CancelledError):
            future.result(20)
        assert future.cancelled()
        assert gate.launches == []
        engine.submit(slab()).result(20)
        gate.launches.clear()
    gc.collect()
    assert memory() is None


def test_deadline_between_parts_ends_the_slab(monkeypatch, head):
    gate = Gate(monkeypatch)
    with Engine() as engine:
        deadline = time.monotonic() + 0.2
        future = engine.submit(hidden(head, 5 * TILE), deadline=deadline)
        assert gate.reached.wait(20)
        while time.monotonic() <= deadline:
            time.sleep(0.01)
        gate.go.set()
        with pytest.raises(ce_engine.DeadlineExceededError, match="parts"):
            future.result(20)
        assert engine.waiting_rows == 0
    assert len(gate.launches) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_first_error_ends_all_parts(monkeypatch, head, workers):
    gate, discard = Gate(monkeypatch), queue.FairQueue.discard

    def slowly(*arguments: Any) -> None:  # so that another worker's part ends meanwhile
        time.sleep(0.002)
        discard(*arguments)

    monkeypatch.setattr(queue.FairQueue, "discard", slowly)
    with Engine(workers=workers) as engine:
        one = hidden(head, 20 * TILE)
        assert one.rows.classes is not None
        one.rows.classes[2:] = CLASSES
        future = engine.submit(one)
        eventually(lambda: len(gate.launches) == workers)
        gate.go.set()
        with pytest.raises(IndexError):
            future.result(20)
        assert engine.waiting_rows == 0
        assert len(gate.launches) <= 2 * workers


def test_listeners_are_told_of_a_slab_in_parts_once(head):
    launches: list[ce_engine.Launch] = []
    seconds: list[float] = []

    def timed(_: object, took: float) -> str:
        seconds.append(took)
        return "done"

    with Engine(workers=2, on_launch=launches.append) as engine:
        value = engine.submit(hidden(head, 9 * TILE), then=timed).result(20)
    assert value == "done"
    assert len(seconds) == 1
    assert seconds[0] > 0
    ((rows, requests, waited),) = launches
    assert (rows, requests, len(waited)) == (9 * TILE, 1, 1)


def test_error_of_then_is_the_futures(head):
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with Engine() as engine, pytest.raises(ZeroDivisionError):
        engine.submit(hidden(head, 2 * TILE), then=fail).result(20)


def test_parts_count_as_one_slab_in_the_queue(monkeypatch, head):
    with held(monkeypatch, max_queue_rows=10 * TILE) as (engine, go, _):
        first = engine.submit(hidden(head, 9 * TILE), caller="a")  # counts as half of the queue
        assert engine.waiting_rows == 5 * TILE
        with pytest.raises(ce_engine.QueueFullError):
            engine.submit(hidden(head, 2), caller="a")
        second = engine.submit(hidden(head, 4 * TILE), caller="b")
        go.set()
        first.result(20)
        second.result(20)
        assert engine.waiting_rows == 0


def test_closing_cancels_the_parts_that_wait(monkeypatch, head):
    with held(monkeypatch) as (engine, go, launches):
        future = engine.submit(hidden(head, 5 * TILE))
        closing = threading.Thread(target=lambda: engine.close(cancel_waiting=True))
        closing.start()
        with pytest.raises(CancelledError):
            future.result(20)
        go.set()  # not before: a part that is taken is evaluated
        closing.join(20)
        assert not closing.is_alive()
    assert launches == []
