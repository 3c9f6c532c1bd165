"""What the engine promises to many callers: merged or not, the same results; none starves or is harmed by another."""

import threading
import time
import weakref
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, slabs
from ce_engine._batching import launchers as launchers
from tests.helpers import eventually


def slab(rows=2, classes=5, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    input = torch.randn(rows, classes, generator=generator)
    return slabs.cross_entropy(input, torch.randint(classes, (rows,), generator=generator), **options)


@contextmanager
def held(monkeypatch, **settings):
    """An engine that launches nothing until it is let go, and a record of the slabs of each launch."""
    go, launches, launch_merged = threading.Event(), [], launchers.launch_merged

    def launch(batch):
        launches.append(list(batch))
        assert go.wait(20)
        return launch_merged(batch)

    monkeypatch.setattr(launchers, "launch_merged", launch)
    with Engine(**settings) as engine:
        blocker = engine.submit(slab(classes=7))  # of a kind of its own
        while not launches:
            time.sleep(0.001)
        launches.clear()
        try:
            yield engine, go, launches
        finally:
            go.set()
            blocker.result(20)


def alone(one):
    return ce_engine.evaluate(one)


def assert_same_bits(ours, theirs):
    assert torch.equal(ours.loss, theirs.loss)
    assert ours.loss_sum == theirs.loss_sum
    if theirs.grad is not None:
        assert torch.equal(ours.grad, theirs.grad)


def test_slabs_of_one_kind_merge(monkeypatch):
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
        assert result.grad.shape == one.input.shape


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
def test_slabs_of_two_kinds_do_not_merge(monkeypatch, other):
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(one) for one in (slab(), other)]
        go.set()
        wait(futures, 20)
    assert sorted(map(len, launches)) == [1, 1]


@pytest.mark.parametrize("limits", [{"max_batch_rows": 8}, {"max_batch_bytes": 8 * 5 * 4}])
def test_batch_has_limits_of_rows_and_bytes(monkeypatch, limits):
    with held(monkeypatch, **limits) as (engine, go, launches):
        futures = [engine.submit(slab()) for _ in range(9)]
        futures.append(engine.submit(slab(rows=100)))  # larger than a batch may be, so alone
        go.set()
        assert all(future.result(20).row_count for future in futures)
    assert [sum(one.row_count for one in batch) for batch in launches] == [8, 8, 2, 100]


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
    assert sorted(sorted(one.row_count for one in batch) for batch in launches) == [[2, 2], [3]]


def test_launch_full_of_bytes_does_not_wait():
    with Engine(max_queue_delay_us=60_000_000, max_batch_bytes=4 * 40) as engine:
        assert all(future.result(20) for future in [engine.submit(slab()) for _ in range(4)])


def test_large_slab_does_not_wait():
    with Engine(max_queue_delay_us=60_000_000, max_batch_bytes=4 * 40) as engine:
        engine.submit(slab(), caller="small")
        assert engine.submit(slab(rows=9), caller="large").result(20)


def test_kinds_of_one_caller_take_turns(monkeypatch):
    with held(monkeypatch, max_batch_rows=4) as (engine, go, launches):
        for _ in range(6):
            engine.submit(slab(classes=5))
        engine.submit(slab(classes=6))
        go.set()
    assert [batch[0].kind.class_count for batch in launches[:2]] == [5, 6]


def test_companions_come_from_each_caller(monkeypatch):
    with held(monkeypatch, max_batch_rows=6) as (engine, go, launches):
        submitted = {caller: [slab() for _ in range(5)] for caller in "abc"}
        for caller, waiting in submitted.items():
            for one in waiting:
                engine.submit(one, caller=caller)
        go.set()
    assert all(sum(one in waiting for one in launches[0]) == 1 for waiting in submitted.values())


def test_close_does_not_wait_for_a_delay():
    engine = Engine(max_queue_delay_us=60_000_000)
    future = engine.submit(slab())
    engine.close()
    assert future.result(0)


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


def test_callers_take_turns_unmerged(monkeypatch):
    with held(monkeypatch, max_batch_rows=1) as (engine, go, launches):
        for number in range(3):
            for caller in "aab":
                engine.submit(slab(rows=3 if caller == "a" else 2, classes=5 + number), caller=caller)
        go.set()
    assert [batch[0].row_count for batch in launches[:6]] == [3, 2, 3, 2, 3, 2]


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
    assert [len(batch) for batch in launches] == [1]


def test_late_slab_is_not_launched(monkeypatch):
    with held(monkeypatch) as (engine, go, launches):
        late = engine.submit(slab(), deadline=time.monotonic() - 1)
        in_time = engine.submit(slab(), deadline=time.monotonic() + 60)
        go.set()
        assert in_time.result(20)
        with pytest.raises(ce_engine.DeadlineExceededError):
            late.result(20)
    assert [len(batch) for batch in launches] == [1]


def test_slab_that_fails_fails_alone(monkeypatch):
    guilty, innocent = slab(), [slab(seed=1), slab(seed=2, grad=False)]
    guilty.rows.classes[0] = 10**6  # as if its owner had written to it after it was checked
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(one) for one in (innocent[0], guilty, innocent[1])]
        go.set()
        assert isinstance(futures[1].exception(20), (IndexError, RuntimeError))
        for future, one in zip((futures[0], futures[2]), innocent, strict=True):
            assert_same_bits(future.result(20), alone(one))
    assert len(launches[0]) == 3


def test_engine_outlives_a_failed_slab():
    guilty = slab()
    guilty.rows.classes[0] = 10**6
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
