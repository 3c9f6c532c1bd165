"""Slabs with a head in an engine: in parts of a tile each, or merged into one tile."""

import gc
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head, Norm, Slab, slabs
from ce_engine._batching import launchers, queue
from ce_engine._heads import logits
from tests.ce_engine.bits import bits
from tests.ce_engine.engine.holding import alone, assert_same_bits, held, slab
from tests.helpers import eventually

WIDTH, CLASSES, TILE = 12, 70, 16


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(logits, "TILE_BYTES", 1)  # so that tiles have as few rows as they may


@pytest.fixture(scope="module")
def head() -> Head:
    generator = torch.Generator().manual_seed(0)
    return Head(torch.randn(CLASSES, WIDTH, generator=generator), norm=Norm("rms", 1e-6), softcap=5.0)


def hidden(head: Head, rows: int = 3, seed: int = 0, **options: Any) -> Slab:
    generator = torch.Generator().manual_seed(seed)
    input, target = torch.randn(rows, WIDTH, generator=generator), torch.randint(CLASSES, (rows,), generator=generator)
    return slabs.linear_cross_entropy(input, head, target, **{"grad": True, **options})


class Gate:
    """Stops the engine's first launch of hidden states, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = self
        self.reached, self.go = threading.Event(), threading.Event()
        self.launches: list[Slab] = []

        class Gated(launchers.CpuLauncher):
            def start(self, slabs: Sequence[Slab]) -> Any:
                gate.launches.extend(slabs)
                gate.reached.set()
                assert gate.go.wait(20)
                return super().start(slabs)

        monkeypatch.setattr(launchers, "CpuLauncher", Gated)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, TILE, TILE + 1, 10 * TILE, 10 * TILE + 3])
def test_parts_have_the_bits_of_the_whole(head, rows, workers):
    options: dict[str, Any] = {
        "outputs": ("lse", "predictions", "probabilities", "target_ranks", "target_log_probabilities"),
        "reduction": "none",
        "z_loss": 0.01,
        "top_k": 2,
    }
    with Engine(workers=workers, torch_threads=1) as engine:
        result = engine.submit(hidden(head, rows, **options)).result(20)
    truth = alone(hidden(head, rows, **options))
    tops = "top_classes", "top_log_probabilities", "z_loss_sum"
    for name in (*options["outputs"], *tops, "loss", "grad", "loss_sum", "correct_count"):
        assert bits(getattr(result, name)) == bits(getattr(truth, name))


def test_very_many_rows_are_few_parts(monkeypatch, head):
    """To cut off a part takes time in the thread that submits, and memory."""
    monkeypatch.setattr(logits, "MOST_PARTS", 4)
    rows = 10 * TILE + 3
    with held(monkeypatch) as (engine, go, launches):
        future = engine.submit(hidden(head, rows))
        go.set()
        result = future.result(20)
    assert [launch[0].row_count for launch in launches] == [3 * TILE, 3 * TILE, 3 * TILE, TILE + 3]
    assert_same_bits(result, alone(hidden(head, rows)))


def test_parts_of_stacked_requests_and_distributions(head):
    generator = torch.Generator().manual_seed(0)
    input, target = torch.randn(5, 9, WIDTH, generator=generator), torch.rand(5, 9, CLASSES, generator=generator)
    slab = slabs.stacked(slabs.linear_cross_entropy, input, target, head=head, grad=True)
    with Engine() as engine:
        result = engine.submit(slab).result(20)
    truth = ce_engine.evaluate_stacked(slabs.linear_cross_entropy, input, target, head=head, grad=True)
    assert bits(result.loss) == bits(truth.loss)
    assert bits(result.grad) == bits(truth.grad)


def test_gradient_of_parts_is_written_into_memory_of_the_caller(head):
    memory = torch.empty(3 * TILE, WIDTH)
    with Engine(workers=2) as engine:
        result = engine.submit(hidden(head, 3 * TILE).with_grad_into(memory)).result(20)
    assert result.grad is memory
    assert bits(memory) == bits(alone(hidden(head, 3 * TILE)).grad)


@pytest.mark.parametrize("count", [2, 3])
def test_small_slabs_of_one_head_are_evaluated_as_one(monkeypatch, head, count):
    merged: list[int] = []
    evaluate = launchers.launch_merged

    def record(slabs: Sequence[Slab]) -> Any:
        merged.append(len(slabs))
        return evaluate(slabs)

    monkeypatch.setattr(launchers, "launch_merged", record)
    with held(monkeypatch, max_batch_bytes=0) as (engine, go, launches):
        small = [hidden(head, rows, seed=rows) for rows in range(2, 2 + count)]
        futures = [engine.submit(one, caller=number) for number, one in enumerate(small)]
        go.set()
        results = [future.result(20) for future in futures]
    assert [len(launch) for launch in launches] == [count]
    assert merged == [count]
    for result, one in zip(results, small, strict=True):
        assert_same_bits(result, alone(one))


def test_slabs_are_merged_up_to_a_tile_and_with_the_same_head_alone(monkeypatch, head):
    other = Head(torch.randn(CLASSES, WIDTH))
    with held(monkeypatch) as (engine, go, launches):
        futures = [engine.submit(hidden(one, 6), caller=number) for number, one in enumerate([head, head, other, head])]
        go.set()
        for future in futures:
            future.result(20)
    assert sorted(len(launch) for launch in launches) == [1, 1, 2]
    assert all(len({one.kind.head for one in launch}) == 1 for launch in launches)


def test_wrong_slab_among_merged_ones_fails_alone(monkeypatch, head):
    retries: list[None] = []
    with held(monkeypatch, on_retry=lambda: retries.append(None)) as (engine, go, _):
        small = [hidden(head, 3, seed=seed) for seed in range(3)]
        wrong = small[1].rows.classes
        assert wrong is not None
        futures = [engine.submit(one, caller=number) for number, one in enumerate(small)]
        wrong[0] = CLASSES  # after it was checked
        go.set()
        with pytest.raises(IndexError):
            futures[1].result(20)
        for number in (0, 2):
            assert_same_bits(futures[number].result(20), alone(small[number]))
    assert retries == [None]


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


def test_lack_of_memory_for_results_fails_the_slab_alone(monkeypatch, head):
    allocate = ce_engine.RowResults.allocate

    def allocate_little(kind: Any, shape: Any, rows: int, grad: Any = None) -> Any:
        if rows > TILE:
            raise MemoryError
        return allocate(kind, shape, rows, grad)

    monkeypatch.setattr(ce_engine.RowResults, "allocate", allocate_little)
    with Engine() as engine:
        futures = [engine.submit(hidden(head, rows)) for rows in (5 * TILE, 3)]
        with pytest.raises(ce_engine.OutOfMemoryError, match="80 rows of 70 float32"):
            futures[0].result(20)
        futures[1].result(20)
