"""Slabs that are cancelled, too late or refused leave nothing: no memory, no futures, no threads, no work done."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Slab, slabs
from tests.ce_engine.engine.holding import held, slab
from tests.helpers import eventually
from tests.present import present

COUNT = 10_000
TARGET = torch.zeros(2, dtype=torch.int64)


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    """What is freed must be freed at once, not by the next garbage collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Watched:
    """Slabs, and what else the engine gets, of which only weak references are kept here."""

    def __init__(self) -> None:
        self._references: list[weakref.ref[Any]] = []

    def slab(self) -> Slab:
        one = slabs.cross_entropy(torch.zeros(2, 5), TARGET, grad=True)
        self.watch(one, one.input)
        return one

    def then(self) -> Callable[[Any, float], Any]:
        """A function that only the engine holds, with something that it holds itself."""
        kept = torch.zeros(3)
        closure = partial(_second, kept)
        self.watch(closure, kept)
        return closure

    def watch(self, *things: Any) -> None:
        self._references += [weakref.ref(thing) for thing in things]

    @property
    def alive(self) -> int:
        return sum(reference() is not None for reference in self._references)


def _second(_: torch.Tensor, result: Any, seconds: float) -> Any:  # noqa: ARG001 - as `then` is called
    return result


@contextmanager
def same_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def test_cancelled_slabs_leave_nothing(monkeypatch):
    watched = Watched()
    with held(monkeypatch) as (engine, go, launches), same_threads():
        for number in range(COUNT):
            future = engine.submit(watched.slab(), caller=number % 7, then=watched.then())
            watched.watch(future)
            assert future.cancel()
        del future
        assert watched.alive == 0
        assert engine.waiting_rows == 0
        go.set()
    assert launches == []


def test_cancelled_slab_is_freed_while_others_wait_and_its_future_is_kept(monkeypatch):
    watched = Watched()
    with held(monkeypatch) as (engine, _, _):
        stays = engine.submit(slab())
        futures = [engine.submit(watched.slab(), then=watched.then()) for _ in range(100)]
        for future in futures:
            future.cancel()
        assert watched.alive == 0
        assert not stays.done()


def test_cancelled_slab_is_freed_although_the_queue_is_busy(monkeypatch):
    watched = Watched()
    with held(monkeypatch) as (engine, _, _):
        future = engine.submit(watched.slab(), then=watched.then())
        with engine._queue._lock:  # as while another thread takes a launch
            future.cancel()
            assert watched.alive == 0
        assert engine.waiting_rows == 0


def test_late_slabs_leave_nothing(monkeypatch):
    watched, futures = Watched(), []
    with held(monkeypatch) as (engine, go, launches), same_threads():
        for number in range(COUNT):
            too_late = time.monotonic() - 1
            futures.append(engine.submit(watched.slab(), caller=number % 7, deadline=too_late, then=watched.then()))
            watched.watch(futures[-1])
        go.set()
        wait(futures, 20)
        assert all(isinstance(future.exception(), ce_engine.DeadlineExceededError) for future in futures)
        futures.clear()
        eventually(lambda: watched.alive == 0)
        assert engine.waiting_rows == 0
    assert launches == []


def test_slab_that_gets_late_behind_others_is_not_computed(monkeypatch):
    with held(monkeypatch) as (engine, go, launches):
        late = [engine.submit(slab(classes=5 + i), deadline=time.monotonic() + 0.05) for i in range(20)]
        time.sleep(0.06)
        go.set()
        wait(late, 20)
    assert launches == []
    assert all(isinstance(future.exception(), ce_engine.DeadlineExceededError) for future in late)


def test_refused_slabs_leave_nothing(monkeypatch):
    watched, refused = Watched(), 0
    with held(monkeypatch, max_queue_rows=4) as (engine, _, _), same_threads():
        engine.submit(slab())
        for _ in range(COUNT):
            try:
                engine.submit(watched.slab(), then=watched.then())
            except ce_engine.QueueFullError:
                refused += 1
        assert refused == COUNT
        assert watched.alive == 0
        assert engine.waiting_rows == 2


def test_slabs_of_a_closed_engine_leave_nothing():
    watched = Watched()
    engine = Engine()
    engine.close()
    for _ in range(100):
        with suppress(ce_engine.EngineClosedError):
            engine.submit(watched.slab(), then=watched.then())
    assert watched.alive == 0


def fail(result: Any, seconds: float) -> Any:
    raise ValueError(f"{result} took {seconds} s")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("then", [None, fail], ids=["result", "error"])
def test_idle_workers_hold_no_slab(workers, then):
    watched = Watched()
    with Engine(workers=workers) as engine:
        for _ in range(20):
            futures = [engine.submit(watched.slab(), then=then) for _ in range(5)]
            wait(futures, 20)
            assert {type(future.exception()) for future in futures} == {ValueError if then else type(None)}
        futures.clear()
        eventually(lambda: watched.alive == 0)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("then", [None, fail], ids=["of a part", "of then"])
def test_failed_slab_in_parts_leaves_nothing(workers, then):
    """Its head, above all, which counts as used as long as anything holds it."""
    watched, head = Watched(), ce_engine.Head(torch.zeros(3, 2))
    watched.watch(head)
    with Engine(workers=workers) as engine:
        one = slabs.linear_cross_entropy(torch.zeros(1000, 2), head, torch.zeros(1000, dtype=torch.int64))
        del head
        watched.watch(one, one.input)
        if then is None:
            present(one.rows.classes)[0] = 3  # after it was checked
        future = engine.submit(one, then=then)
        del one
        assert isinstance(future.exception(20), ValueError if then else IndexError)
        del future
        eventually(lambda: watched.alive == 0)
