"""Counts of rows by their losses, beside float64 numbers counted one by one."""

import math

import pytest
import torch

import ce_engine
from ce_engine import Engine, _libraries, slabs
from ce_engine._sums.tallies import MOST_ROWS
from losswire.monitoring.buckets import ROW_LOSSES
from tests.present import present

LIBRARIES = [None, *_libraries.runnable()]
ROWS = [0, 1, 3, 1000, 1025]  # the compiled code takes 1024 at a time


def tallied(slab: ce_engine.Slab) -> ce_engine.Tally:
    slab.tally_bounds = ROW_LOSSES
    result = ce_engine.evaluate(slab)
    return present(result.tally)


def counted(losses: torch.Tensor) -> list[int]:
    return [sum(loss <= bound for loss in losses.tolist()) for bound in ROW_LOSSES]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_counted_by_their_losses(rows, dtype, library):
    generator = torch.Generator().manual_seed(rows)
    logits, target = (9 * torch.randn(rows, 7, generator=generator)).to(dtype), torch.arange(rows) % 7
    with _libraries.using(library):
        tally = tallied(slabs.cross_entropy(logits, target))
        losses = ce_engine.cross_entropy(logits, target, reduction="none").loss
    assert tally.counts.tolist() == counted(losses)
    assert (tally.row_count, tally.nonfinite_count) == (rows, 0)
    assert tally.loss_sum == pytest.approx(losses.double().sum().item())
    assert tally.weight_sum == rows


@pytest.mark.parametrize("library", LIBRARIES)
def test_loss_of_a_bound_is_at_most_the_bound(library):
    losses = -torch.tensor([ROW_LOSSES]).T
    with _libraries.using(library):
        tally = tallied(slabs.nll_loss(losses, torch.zeros(len(losses), dtype=torch.long)))
    assert tally.counts.tolist() == list(range(1, len(ROW_LOSSES) + 1))


@pytest.mark.parametrize("library", LIBRARIES)
def test_ignored_rows_are_not_counted(library):
    logits, target = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [0.0, -40.0]]), torch.tensor([0, -100, 0])
    with _libraries.using(library):
        tally = tallied(slabs.cross_entropy(logits, target))
    assert tally.counts.tolist() == counted(torch.tensor([math.log(2), 0.0]))
    assert (tally.row_count, tally.nonfinite_count) == (2, 0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_that_are_not_finite_are_in_no_sum(library):
    scores = torch.tensor([[math.nan, 0.0], [-math.inf, 0.0], [math.inf, 0.0], [-0.5, 0.0], [0.0, 0.25]])
    target, weight = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([2.0, 3.0])
    with _libraries.using(library):
        tally = tallied(slabs.nll_loss(scores, target, weight))
    assert (tally.row_count, tally.nonfinite_count) == (2, 3)
    assert tally.loss_sum == 0.5 * 2 - 0.25 * 3
    assert tally.weight_sum == 5.0
    assert tally.counts.tolist() == counted(torch.tensor([1.0, -0.75]))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("unusable", [math.nan, math.inf, -math.inf, 1e300])
def test_weights_of_rows_that_are_not_finite_are_in_no_sum(library, unusable):
    scores = torch.tensor([[-0.5, -1.0], [-math.inf, -1.0], [-0.25, -2.0]], dtype=torch.float64)
    target, weight = torch.tensor([0, 0, 1]), torch.tensor([3.0, 0.1], dtype=torch.float64)
    sample_weight = torch.tensor([1.0, unusable, 1.0], dtype=torch.float64)
    with _libraries.using(library):
        tally = tallied(slabs.nll_loss(scores, target, weight, sample_weight=sample_weight))
    assert (tally.row_count, tally.nonfinite_count) == (2, 1)
    assert tally.loss_sum == 0.5 * 3 + 2 * 0.1
    assert tally.weight_sum == 3.0 + 0.1


def test_tally_of_stacked_requests_is_of_all_together():
    logits, target = torch.randn(5, 8, 3), torch.randint(3, (5, 8))
    tally = tallied(slabs.stacked(slabs.cross_entropy, logits, target, reduction="sum"))
    sums = ce_engine.evaluate_stacked(slabs.cross_entropy, logits, target, reduction="sum").loss_sum
    assert tally.row_count == 40
    assert tally.loss_sum == pytest.approx(math.fsum(sums))


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_tally_of_some_stacked_requests_is_as_of_these_alone(weight):
    logits, target = torch.randn(5, 8, 3), torch.randint(3, (5, 8))
    target[1, :3] = target[3, 0] = -100
    logits[2, 0] = logits[3, 1] = math.nan

    def evaluated(some):
        slab = slabs.stacked(slabs.cross_entropy, logits[some], target[some], weight=weight)
        slab.tally_bounds = ROW_LOSSES
        return ce_engine.evaluate(slab)

    some = [0, 1, 3]
    found, alone = evaluated(slice(None)).tally_of(some), evaluated(some).tally
    assert found.counts.tolist() == alone.counts.tolist()
    assert (found.row_count, found.nonfinite_count) == (alone.row_count, alone.nonfinite_count) == (19, 1)
    assert found.loss_sum == alone.loss_sum
    assert found.weight_sum == pytest.approx(alone.weight_sum)


def test_engine_tallies_merged_slabs():
    parts = [slabs.cross_entropy(torch.full((4, 2), float(i)), torch.zeros(4, dtype=torch.long)) for i in range(9)]
    for part in parts:
        part.tally_bounds = ROW_LOSSES
    with Engine() as engine:
        results = [future.result() for future in [engine.submit(part) for part in parts]]
    assert all(result.tally.counts.tolist() == counted(torch.full((4,), math.log(2))) for result in results)


@pytest.mark.parametrize("library", LIBRARIES)
def test_sample_of_many_rows_stands_for_all(library):
    rows = 3 * MOST_ROWS + 7
    x, target = torch.rand(rows, generator=torch.Generator().manual_seed(0)), torch.zeros(rows)
    with _libraries.using(library):
        tally = tallied(slabs.binary_cross_entropy_with_logits(x, target))
        losses = ce_engine.binary_cross_entropy_with_logits(x, target, reduction="none").loss
    exact = torch.stack([(losses <= bound).sum() for bound in ROW_LOSSES])
    assert tally.row_count == rows
    assert tally.counts.tolist() == sorted(tally.counts.tolist())
    assert (tally.counts - exact).abs().max() < 0.01 * rows
    assert tally.counts[-1] == rows


def test_sample_follows_no_pattern_of_rows():
    period = 64 * 1024
    x = torch.zeros(5 * MOST_ROWS).view(-1, 64)
    x[:: period // 64 // 16] = 30.0  # one block of 64
    tally = tallied(slabs.binary_cross_entropy_with_logits(x.view(-1), torch.zeros(x.numel())))
    share = 1 - tally.counts[ROW_LOSSES.index(16.0)].item() / x.numel()
    assert share == pytest.approx(1 / 64, rel=0.2)


def test_ignored_rows_among_many_are_left_out():
    rows = 2 * MOST_ROWS
    target = torch.where(torch.arange(rows) % 2 == 0, -100, 0)
    tally = tallied(slabs.cross_entropy(torch.zeros(rows, 2), target))
    assert tally.row_count == rows // 2
    assert tally.counts[-1] == rows // 2
    assert tally.counts[ROW_LOSSES.index(0.0)] < 0.01 * rows


def test_tallies_add_up():
    one = tallied(slabs.cross_entropy(torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)))
    both = one + one
    assert (both.row_count, both.loss_sum) == (6, 2 * one.loss_sum)
    assert both.counts.tolist() == (2 * one.counts).tolist()
