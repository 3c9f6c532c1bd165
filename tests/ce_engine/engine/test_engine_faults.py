"""Whatever a caller does to the engine or to its future, the engine goes on for all other callers."""

import asyncio
import os
import sys
import threading

import pytest
import torch

import ce_engine
from ce_engine import Engine, slabs
from ce_engine._batching import launchers
from tests.ce_engine.engine.holding import held


def slab():
    return slabs.cross_entropy(torch.randn(2, 5), torch.tensor([0, 1]))


def leave(_future):
    raise SystemExit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "slab: expected Slab, got NoneType"),
        ((slab(), {"deadline": "soon"}), "deadline: expected .*, got str"),
        ((slab(), {"caller": []}), "caller: expected Hashable, got list"),
    ],
)
def test_wrong_argument_ends_no_thread(arguments, message):
    options = arguments[1] if len(arguments) > 1 else {}
    with Engine() as engine:
        with pytest.raises(ce_engine.InvalidArgumentError, match=message):
            engine.submit(arguments[0], **options)
        assert engine.submit(slab()).result(20)


@pytest.mark.parametrize("settings", [{"torch_threads": 0}, {"max_queue_delay_us": 10**17}, {"workers": 1.5}])
def test_fatal_setting_is_refused(settings):
    with pytest.raises(ce_engine.InvalidArgumentError, match=next(iter(settings))):
        Engine(**settings)


def test_exit_in_a_callback_ends_no_thread():
    with Engine() as engine:
        engine.submit(slab()).add_done_callback(leave)
        assert engine.submit(slab()).result(20)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_exit_in_what_comes_after_ends_no_thread(error):
    def fail(_result, _seconds):
        raise error

    with Engine() as engine:
        future = engine.submit(slab(), then=fail)
        assert isinstance(future.exception(20), error)
        assert engine.submit(slab()).result(20)


def test_settled_future_ends_no_thread():
    with Engine(max_queue_delay_us=50_000) as engine:
        engine.submit(slab()).set_result(ce_engine.evaluate(slab()))
        assert engine.submit(slab()).result(20)


def test_callbacks_may_close_at_once():
    engine, both = Engine(workers=2, max_batch_rows=1), threading.Barrier(2)

    def close(_future):
        both.wait(20)
        engine.close()

    for _ in range(2):
        engine.submit(slab()).add_done_callback(close)
    engine.close()
    assert not any(thread.is_alive() for thread in engine._threads)


def test_launch_has_the_threads_asked_for():
    with Engine(torch_threads=3) as engine:
        seen = []
        engine.submit(slab()).add_done_callback(lambda _: seen.append(torch.get_num_threads()))
    torch.set_num_threads(torch.get_num_threads())  # later threads have the number of this thread again
    assert seen == [3]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_workers_are_nicer_than_other_threads():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    seen = []
    with Engine(niceness=2) as engine:
        engine.submit(slab()).add_done_callback(lambda _: seen.append(niceness()))
    assert seen == [min(niceness() + 2, 19)]


def test_engine_says_so_in_a_forked_process(monkeypatch):
    with Engine() as engine:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ce_engine.EngineClosedError, match="forked"):
            engine.submit(slab())
        monkeypatch.undo()


def test_launch_that_is_taken_apart_is_told(monkeypatch):
    told = []

    def evaluate(slabs):
        if len(slabs) > 1:
            raise RuntimeError("together they fail")
        return [launchers.launch(slabs[0])]

    monkeypatch.setattr(launchers, "launch_merged", evaluate)
    with held(monkeypatch, on_retry=lambda: told.append(1)) as (engine, go, launches):
        futures = [engine.submit(slab()) for _ in range(launchers.LEAST_MERGED)]
        go.set()
        assert all(future.result(20) for future in futures)
    assert [len(launch) for launch in launches] == [launchers.LEAST_MERGED]
    assert told == [1]
