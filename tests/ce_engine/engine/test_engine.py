"""The engine's promises: the same results in any company, and answers in time, whatever fails or closes it."""

import gc
import threading
import time
import weakref
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, slabs
from tests.ce_engine.engine.holding import alone, assert_same_bits, held, slab
from tests.helpers import eventually
from tests.present import present


def test_slabs_of_one_kind_share_a_launch(monkeypatch):
    weight, image = torch.rand(5), torch.randn(2, 5, 3, 2)
    submitted = [
        slab(seed=1, reduction="sum", grad=True),
        slab(seed=2, reduction="mean", weight=weight, grad=True),
        slab(seed=3, reduction="none", grad=True, grad_output=torch.rand(2)),
        slab(seed=4, sample_weight=torch.rand(2), ignore_index=0, grad=True),
        slabs.cross_entropy(image, torch.randint(5, (2, 3, 2)), grad=True),
    ]
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(one) for one in submitted]
        go.set()
        results = [future.result(20) for future in futures]
    assert launches == [submitted]
    for one, result in zip(submitted, results, strict=True):
        assert_same_bits(result, alone(one))
        assert present(result.grad).shape == one.input.shape


@pytest.mark.parametrize(
    "other",
    [
        slab(classes=6),
        slab(grad=True),
        slab(label_smoothing=0.1),
        slab(outputs=["lse"]),
        slabs.nll_loss(torch.randn(2, 5), torch.tensor([0, 1])),
        slabs.cross_entropy(torch.randn(2, 5), torch.rand(2, 5)),
        slabs.cross_entropy(torch.randn(2, 5).double(), torch.tensor([0, 1])),
    ],
)
def test_slabs_of_two_kinds_share_no_launch(monkeypatch, other):
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(one) for one in (slab(), other)]
        go.set()
        wait(futures, 20)
    assert sorted(map(len, launches)) == [1, 1]


@pytest.mark.parametrize("limits", [{"max_batch_rows": 8}, {"max_batch_bytes": 8 * 5 * 4}])
def test_batch_has_limits_of_rows_and_bytes(monkeypatch, limits):
    with held(monkeypatch, **limits) as (engine, go, launches):
        futures = [engine.submit(slab()) for _ in range(9)]
        futures.append(engine.submit(slab(rows=100)))  # larger than a launch may be, so it goes alone
        go.set()
        assert all(future.result(20).row_count for future in futures)
    assert [sum(one.row_count for one in launch) for launch in launches] == [8, 8, 2, 100]


def test_launch_waits_for_its_delay():
    with Engine(max_queue_delay_us=50_000) as engine:
        start = time.monotonic()
        engine.submit(slab()).result(20)
        assert time.monotonic() - start >= 0.05


def test_launch_that_is_full_does_not_wait():
    with Engine(max_queue_delay_us=60_000_000, max_batch_rows=4) as engine:
        wait([engine.submit(slab()) for _ in range(2)], 20, return_when="ALL_COMPLETED")
        assert engine.submit(slab(rows=4)).result(20)


def test_large_slab_is_launched_alone(monkeypatch):
    quarter = 2 * 5 * 4  # bytes
    with held(monkeypatch, max_batch_bytes=4 * quarter) as (engine, go, launches):
        futures = [engine.submit(slab(rows=rows), caller=rows) for rows in (2, 3, 2)]
        go.set()
        wait(futures, 20)
    assert sorted(sorted(one.row_count for one in launch) for launch in launches) == [[2, 2], [3]]


def test_launch_full_of_bytes_does_not_wait():
    with Engine(max_queue_delay_us=60_000_000, max_batch_bytes=4 * 40) as engine:
        assert all(future.result(20) for future in [engine.submit(slab()) for _ in range(4)])


def test_large_slab_does_not_wait():
    with Engine(max_queue_delay_us=60_000_000, max_batch_bytes=4 * 40) as engine:
        engine.submit(slab(), caller="small")
        assert engine.submit(slab(rows=9), caller="large").result(20)


def test_close_does_not_wait_for_a_delay():
    engine = Engine(max_queue_delay_us=60_000_000)
    future = engine.submit(slab())
    engine.close()
    assert future.result(0)


@pytest.mark.parametrize("company", [1, 2, 20])  # evaluated one after the other, or merged
def test_slab_that_fails_fails_alone(monkeypatch, company):
    guilty, innocent = slab(), [slab(seed=seed) for seed in range(1, 1 + company)]
    present(guilty.rows.classes)[0] = 10**6  # as if its owner had written to it after the check
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(one) for one in (guilty, *innocent)]
        go.set()
        assert isinstance(futures[0].exception(20), (IndexError, RuntimeError))
        for future, one in zip(futures[1:], innocent, strict=True):
            assert_same_bits(future.result(20), alone(one))
    assert len(launches[0]) == 1 + company


def test_engine_outlives_a_failed_slab():
    guilty = slab()
    present(guilty.rows.classes)[0] = 10**6
    with Engine() as engine:
        assert engine.submit(guilty).exception(20)
        assert engine.submit(slab()).result(20)


def test_close_finishes_what_was_accepted(monkeypatch):
    with held(monkeypatch) as (engine, go, _):
        futures = [engine.submit(slab(classes=n)) for n in range(5, 15)]
        closing = threading.Thread(target=engine.close)
        closing.start()
        while not engine._queue._closed:
            time.sleep(0.001)
        with pytest.raises(ce_engine.EngineClosedError):
            engine.submit(slab())
        go.set()
        closing.join(20)
        assert all(future.done() and future.result() for future in futures)
        assert not any(thread.is_alive() for thread in engine._threads)


def test_close_may_cancel_what_waits(monkeypatch):
    with held(monkeypatch) as (engine, go, launches):
        waiting = [engine.submit(slab()) for _ in range(5)]
        closing = threading.Thread(target=engine.close, kwargs={"cancel_waiting": True})
        closing.start()
        eventually(lambda: all(future.cancelled() for future in waiting))
        assert closing.is_alive()  # it waits for the launch that is held
        go.set()
        closing.join(20)
        assert not any(thread.is_alive() for thread in engine._threads)
    assert launches == []


def test_then_makes_the_value_where_the_slab_was_evaluated():
    def then(result: ce_engine.LossResult, seconds: float) -> tuple[int, float, str]:
        return result.row_count, seconds, threading.current_thread().name

    with Engine() as engine:
        row_count, seconds, name = engine.submit(slab(), then=then).result(20)
    assert (row_count, name) == (2, "ce-engine-0")
    assert 0 < seconds < 20


def test_error_of_then_fails_its_slab_alone(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("cannot encode")

    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(slab(), then=then) for then in (None, fail, None)]
        go.set()
        assert str(futures[1].exception(20)) == "cannot encode"
        assert [futures[number].result(20).row_count for number in (0, 2)] == [2, 2]
    assert len(launches[0]) == 3


def test_failed_slab_is_freed_with_its_error():
    def fail(_results: ce_engine.RowResults) -> None:
        raise RuntimeError

    gc.disable()
    try:
        with Engine() as engine:
            guilty = replace(slab(), finish=fail)
            gone = weakref.ref(guilty)
            future = engine.submit(guilty)
            assert isinstance(future.exception(20), RuntimeError)
            del future, guilty
            eventually(lambda: gone() is None)
    finally:
        gc.enable()


def test_launches_are_told(monkeypatch):
    told: list[ce_engine.Launch] = []
    logits, target = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    with held(monkeypatch, on_launch=told.append) as (engine, go, _):
        told.clear()
        engine.submit(slab())
        engine.submit(slabs.stacked(slabs.cross_entropy, logits, target))
        late = engine.submit(slab(), deadline=time.monotonic() - 1)
        time.sleep(0.02)  # so long the slabs wait
        go.set()
        assert late.exception(20)
    (launch,) = told
    assert (launch.rows, launch.requests, len(launch.waited_seconds)) == (14, 4, 2)
    assert all(0.02 <= seconds < 20 for seconds in launch.waited_seconds)


def test_error_of_a_listener_ends_no_thread():
    def fail(_launch: ce_engine.Launch) -> None:
        raise SystemExit

    with Engine(on_launch=fail) as engine:
        assert engine.submit(slab()).result(20)
        assert engine.submit(slab()).result(20)


def test_idle_engine_keeps_no_slab_alive():
    with Engine() as engine:
        one = slab()
        gone = weakref.ref(one)
        engine.submit(one).result(20)
        del one
        eventually(lambda: gone() is None)


@pytest.mark.parametrize("name", ["workers", "max_batch_rows", "max_queue_rows"])
def test_zero_setting_is_refused_by_its_name(name):
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ce_engine.InvalidArgumentError, match=f"{name}: expected at least 1, got 0"):
        Engine(**wrong)


def test_callback_may_close_the_engine():
    engine, closed = Engine(), threading.Event()

    def close(_future: Future[ce_engine.LossResult]) -> None:
        engine.close()
        closed.set()

    engine.submit(slab()).add_done_callback(close)
    assert closed.wait(20)


def test_threads_get_their_own_results():
    with Engine(workers=3, torch_threads=1) as engine:
        submitted = [slab(rows=1 + n % 7, classes=2 + n % 3, seed=n, grad=True) for n in range(300)]
        futures: dict[int, Future[ce_engine.LossResult]] = {}

        def submit(first):
            for n in range(first, len(submitted), 4):
                futures[n] = engine.submit(submitted[n], caller=first)

        threads = [threading.Thread(target=submit, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for n, one in enumerate(submitted):
            assert_same_bits(futures[n].result(20), alone(one))
