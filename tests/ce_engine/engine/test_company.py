"""A slab's result has the same bits alone and in a launch with any other slabs, by any number of workers."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given

import ce_engine
from ce_engine import Engine, slabs
from tests.ce_engine.bits import bits
from tests.ce_engine.engine.companions import companions
from tests.present import present


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(workers=2, max_queue_delay_us=1000) as one:
        yield one


def bits_of(result):
    return {name: bits(value) for name, value in vars(result).items()}


@given(together=companions())
def test_company_changes_no_bit(engine, together):
    assert len({slab.kind for slab in together}) == 1
    futures = [engine.submit(slab, caller=number % 2) for number, slab in enumerate(together)]
    for slab, future in zip(together, futures, strict=True):
        assert bits_of(future.result(20)) == bits_of(ce_engine.evaluate(slab))


def test_stacked_requests_pass_through_the_queue(engine):
    logits, target = torch.randn(9, 4, 5), torch.randint(5, (9, 4))
    options: dict[str, Any] = {"grad": True, "outputs": ["predictions"]}
    stacked = engine.submit(slabs.stacked(slabs.cross_entropy, logits, target, **options)).result(20)
    for number in range(9):
        alone = ce_engine.cross_entropy(logits[number], target[number], **options)
        assert bits_of(stacked[number]) == bits_of(alone)


@pytest.mark.parametrize("planned", [True, False])
def test_parts_of_a_batch_come_in_any_order(engine, planned):
    logits, target = torch.randn(5000, 7), torch.randint(-1, 7, (5000,))
    options: dict[str, Any] = {
        "ignore_index": -1,
        "reduction": "mean",
        "outputs": ["predictions"],
        "weight": torch.rand(7),
    }
    whole = slabs.cross_entropy(logits, target, grad=True, **options)
    batch = (
        ce_engine.PlannedSlabBySlab(whole)
        if planned
        else ce_engine.SlabBySlab(slabs.cross_entropy, weight_sum=whole.reduction.weight_sum, grad=True, **options)
    )
    parts = [
        batch.plan(x) if isinstance(batch, ce_engine.PlannedSlabBySlab) else batch.plan(x, y)
        for x, y in zip(logits.split(700), target.split(700), strict=True)
    ]
    futures = [engine.submit(part, caller=number % 3) for number, part in reversed(list(enumerate(parts)))]
    results = [future.result(20) for future in reversed(futures)]
    for part, rows in zip(parts, results, strict=True):
        batch.add(part.reduction, rows)
    expected = ce_engine.evaluate(whole)
    sums = (batch.loss_sum, batch.weight_sum, batch.row_count, batch.ignored_count, batch.correct_count)
    assert sums == (
        expected.loss_sum,
        expected.weight_sum,
        expected.row_count,
        expected.ignored_count,
        expected.correct_count,
    )
    assert bits(torch.tensor(batch.loss(), dtype=torch.float32)) == bits(expected.loss)
    assert torch.equal(torch.cat([rows.grad for rows in results]), present(expected.grad))


PLAIN: list[dict[str, Any]] = [
    {},
    {"grad": True},
    {"grad": True, "reduction": "sum", "grad_output": torch.tensor(0.3)},
    {"grad": True, "reduction": "none", "grad_output": torch.linspace(-2, 2, 60)},
    {"grad": True, "grad_dtype": torch.float64},
    {"outputs": ["lse"]},
]


@pytest.mark.parametrize("options", PLAIN)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_parts_of_any_size_have_the_bits_of_the_whole(loss, options):
    input, target = torch.randn(60, 5).log_softmax(1), torch.randint(5, (60,))
    whole = getattr(slabs, loss)(input, target, **options)
    batch = ce_engine.PlannedSlabBySlab(whole)
    came: list[Any] = []
    for x in input.split([1, 20, 20, 3, 16]):
        part = batch.plan(x)
        came.append(ce_engine.evaluate(part))
        batch.add(part.reduction, came[-1])
    expected = ce_engine.evaluate(whole)
    assert batch.loss_sum == expected.loss_sum
    for name in ("grad", "lse"):
        of_whole = getattr(expected, name)
        if of_whole is not None:
            assert bits(torch.cat([getattr(results, name) for results in came])) == bits(of_whole)
