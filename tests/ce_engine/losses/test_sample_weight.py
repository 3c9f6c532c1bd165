"""A weight for each row multiplies its loss and gradient, and changes nothing else."""

import pytest
import torch

import ce_engine
from tests.ce_engine.helpers import FLOATS, PROBLEMS, REDUCTIONS, assert_close, loss_shape, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

SHAPES = [(5,), (4, 5), (4, 5, 3), (2, 5, 3, 2), (0, 5)]


@pytest.mark.parametrize(("kind", "shape", "reduction"), pairs(PROBLEMS, SHAPES, REDUCTIONS))
def test_loss_and_gradient_are_multiplied(kind, shape, reduction):
    given = problem(kind, shape)
    plain = given.ours(reduction="none")
    weight = torch.randn(loss_shape(given)).double()
    # In PyTorch one multiplies the loss with reduction none, and reduces the product.
    loss, grad = given.theirs(weight, reduction="none")
    loss, divisor = loss * weight, plain.weight_sum if reduction == "mean" else 1
    if reduction != "none":
        loss = loss.sum() / divisor
    result = given.ours(reduction=reduction, sample_weight=weight)
    assert_close(result, loss, grad / divisor, 1e-12)
    assert result.loss_sum == pytest.approx(float((plain.loss * weight).sum()), rel=1e-12)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_divisor_and_counts_stay(kind):
    given = problem(kind)
    plain, weighted = given.ours(), given.ours(sample_weight=torch.full(loss_shape(given), 3.0))
    assert weighted.weight_sum == plain.weight_sum
    assert (weighted.row_count, weighted.ignored_count) == (plain.row_count, plain.ignored_count)
    assert_close(weighted, plain.loss * 3, present(plain.grad) * 3, 1e-12)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_twin_agrees_beside_incoming(kind):
    given = problem(kind)
    options = {"sample_weight": torch.rand(loss_shape(given)), "grad_output": torch.randn(loss_shape(given)).double()}
    twin = given.twin(reduction="none", **options)
    assert_close(given.ours(reduction="none", **options), twin.loss, twin.grad, 1e-12)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_row_of_weight_zero_counts(kind):
    given = problem(kind, (3, 4))
    weight = torch.ones(loss_shape(given))
    weight[0] = 0
    result = given.ours(reduction="none", sample_weight=weight)
    assert not result.loss[0].any()
    assert not present(result.grad)[0].any()
    assert result.row_count == given.ours().row_count


@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "nll_loss"])
def test_weight_of_ignored_rows_is_unused(kind):
    given = problem(kind)
    weight = torch.ones(loss_shape(given))
    weight[2] = float("nan")
    result = given.ours(sample_weight=weight)
    assert_close(result, *given.theirs(), 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_weight_of_another_dtype(kind, dtype):
    given = problem(kind, (4, 5), torch.float32)
    weight = torch.rand(loss_shape(given)).to(dtype)
    narrow = given.ours(sample_weight=weight)
    wide = given.ours(sample_weight=weight.double())
    assert torch.equal(narrow.loss, wide.loss)
    assert torch.equal(present(narrow.grad), present(wide.grad))


@pytest.mark.parametrize("shape", [(), (4,), (1, 3), (4, 3, 1)])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_weight_of_another_shape_is_refused(kind, shape):
    with pytest.raises(ce_engine.InvalidArgumentError, match="sample_weight: expected the loss's shape"):
        problem(kind).ours(sample_weight=torch.ones(shape))


def test_weight_that_is_no_float_is_refused():
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"sample_weight: expected one of the dtypes .* got int64"):
        problem("nll_loss").ours(sample_weight=torch.ones(4, 3, dtype=torch.int64))
