import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import ce_engine
from tests.ce_engine.helpers import (
    HALVES,
    REDUCTIONS,
    SHAPES,
    TOLERANCES,
    Problem,
    assert_close,
    assert_no_worse,
    problem,
)
from tests.pairs import pairs
from tests.present import present


@pytest.mark.parametrize(("name", "reduction", "dtype"), pairs(SHAPES, REDUCTIONS, TOLERANCES))
def test_torch_and_the_twin_agree(name, reduction, dtype):
    given = problem("nll_loss", SHAPES[name][0], dtype)
    for weight, ignore_index in itertools.product((None, given.options["weight"]), (-100, 0)):
        target = given.target.clamp(min=0) if ignore_index == 0 else given.target
        one = Problem("nll_loss", given.input, target, {"weight": weight, "ignore_index": ignore_index})
        result, twin = one.ours(reduction=reduction), one.twin(reduction=reduction)
        assert_close(result, *one.theirs(reduction=reduction), TOLERANCES[dtype])
        assert_close(result, twin.loss.to(dtype), present(twin.grad).to(dtype), TOLERANCES[dtype])
        assert result.loss_sum == pytest.approx(twin.loss_sum, rel=1e-5 if dtype is torch.float32 else 1e-12)
        assert result.weight_sum == pytest.approx(twin.weight_sum)
        assert (result.row_count, result.ignored_count) == (twin.row_count, twin.ignored_count)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_halves_are_no_worse_than_torch(reduction, dtype):
    # 300 rows: enough for the sums of half precision to go wrong in PyTorch.
    given = problem("nll_loss", (300, 7), dtype)
    result, (loss, grad) = given.ours(reduction=reduction), given.theirs(reduction=reduction)
    truth = given.twin(reduction=reduction)
    assert_no_worse(result.loss, loss, truth.loss)
    assert_no_worse(result.grad, grad, truth.grad)


def test_loss_of_a_row_is_not_rounded():
    input = torch.randn(50, 7)
    target = torch.randint(7, (50,))
    result = ce_engine.nll_loss(input, target, reduction="none", grad=True)
    assert torch.equal(result.loss, -input[torch.arange(50), target])
    assert torch.equal(present(result.grad), -torch.eye(7)[target])


def test_overflow_is_infinite_as_in_torch():
    input, target, least = torch.full((2, 1), -3e38, requires_grad=True), torch.zeros(2).long(), torch.tensor([1e-45])
    assert ce_engine.nll_loss(input, target, reduction="sum").loss == F.nll_loss(input, target, reduction="sum")
    (grad,) = torch.autograd.grad(F.nll_loss(input, target, least), input)
    assert torch.equal(present(ce_engine.nll_loss(input, target, least, grad=True).grad), grad)


def test_cross_entropy_of_log_probabilities():
    given = problem("cross_entropy")
    result = given.ours(outputs=["log_probabilities"])
    loss = ce_engine.nll_loss(present(result.log_probabilities), given.target, **given.options).loss
    torch.testing.assert_close(loss, result.loss, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_only_the_target_matters(value):
    input = torch.full((2, 3), value)
    input[0, 1] = -0.5
    result = ce_engine.nll_loss(input, torch.tensor([1, 0]), reduction="none", grad=True)
    assert result.loss[0] == 0.5
    torch.testing.assert_close(result.loss[1], torch.tensor(-value), equal_nan=True)
    assert torch.equal(present(result.grad), -torch.eye(3)[[1, 0]])


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_ignored_row_is_zero(value):
    input = torch.full((2, 3), value)
    input[1] = -1
    result = ce_engine.nll_loss(input, torch.tensor([-100, 2]), torch.tensor([value, 1, 2]), grad=True)
    assert (result.loss.item(), result.loss_sum, result.weight_sum) == (1, 2, 2)
    assert torch.equal(present(result.grad), torch.tensor([[0.0, 0, 0], [0, 0, -1]]))


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_that_counts_is_nan_or_zero(rows):
    given = Problem("nll_loss", torch.randn(rows, 3), torch.full((rows,), -100), {})
    assert_close(given.ours(), *given.theirs(), 0)
    result = given.ours(empty="zero")
    assert (result.loss.item(), result.row_count, result.ignored_count) == (0, 0, rows)
    assert not present(result.grad).any()


@pytest.mark.parametrize("target", [torch.tensor([0.5, 0.5]), torch.rand(2, 3)])
def test_probability_targets_are_refused(target):
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"target: expected class indices .*, got float32"):
        ce_engine.nll_loss(torch.randn(2, 3), target)


def test_class_out_of_range_is_refused():
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"target: expected classes in \[0, 3\) .* 3 at row 1"):
        ce_engine.nll_loss(torch.randn(2, 3), torch.tensor([0, 3]))
