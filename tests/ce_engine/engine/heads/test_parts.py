"""Slabs with a head: in parts of a tile each, or merged into one tile, with the bits of one evaluation."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head, Slab, slabs
from ce_engine._batching import launchers
from ce_engine._heads import logits
from tests.ce_engine.bits import bits
from tests.ce_engine.engine.heads.slabs_of_heads import CLASSES, TILE, WIDTH, hidden
from tests.ce_engine.engine.holding import alone, assert_same_bits, held


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
