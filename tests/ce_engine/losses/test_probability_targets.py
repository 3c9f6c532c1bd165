import itertools
import math

import pytest
import torch
from torch import Tensor

import ce_engine
from tests.ce_engine.helpers import (
    FLOATS,
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


def distributions(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.randn(shape, dtype=dtype), torch.rand(shape, dtype=dtype).softmax(1)


@pytest.mark.parametrize(("name", "reduction", "dtype"), pairs(SHAPES, REDUCTIONS, TOLERANCES))
def test_torch_and_the_twin_agree(name, reduction, dtype):
    given = problem("probabilities", SHAPES[name][0], dtype)
    for weight, smoothing in itertools.product((None, given.options["weight"]), (0.0, 0.3, 1.0)):
        options = {"weight": weight, "label_smoothing": smoothing}
        one = Problem("cross_entropy", given.input, given.target, options)
        result, twin = one.ours(reduction=reduction), one.twin(reduction=reduction)
        # Targets up to 1 each and weights up to 1.5 make losses of up to 50 here, and as many more roundings.
        tolerance = 5 * TOLERANCES[dtype]
        assert_close(result, *one.theirs(reduction=reduction), tolerance)
        assert_close(result, twin.loss.to(dtype), present(twin.grad).to(dtype), tolerance)
        assert result.weight_sum == twin.weight_sum == result.row_count
        assert result.ignored_count == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0,), (5, 0), (0, 0), (2, 0, 4), (2, 0, 0), (2, 0, 3, 4), (0, 3, 0)], ids=str)
def test_rows_without_classes(shape, reduction):
    classes = shape[min(1, len(shape) - 1)]
    for weight, smoothing in itertools.product((None, torch.rand(classes).double()), (0.0, 0.3)):
        options = {"weight": weight, "label_smoothing": smoothing}
        given = Problem("cross_entropy", torch.rand(shape).double(), torch.rand(shape).double(), options)
        result = given.ours(reduction=reduction)
        assert_close(result, *given.theirs(reduction=reduction), 0)
        assert (result.row_count, result.weight_sum) == (0, 0.0)


def test_mean_without_classes_may_be_zero():
    result = ce_engine.cross_entropy(torch.zeros(5, 0), torch.zeros(5, 0), empty="zero", sample_weight=torch.ones(5))
    assert (result.loss.item(), result.ignored_count) == (0, 5)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_halves_are_no_worse_than_torch(reduction, dtype):
    given = problem("probabilities", (300, 7), dtype)
    result, (loss, grad) = given.ours(reduction=reduction), given.theirs(reduction=reduction)
    truth = given.twin(reduction=reduction)
    assert_no_worse(result.loss, loss, truth.loss)
    assert_no_worse(result.grad, grad, truth.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_targets_and_weights_of_any_number(smoothing):
    target, weight = torch.randn(4, 5, 3).double() * 10, torch.randn(5).double()
    options = {"weight": weight, "label_smoothing": smoothing}
    given = Problem("cross_entropy", torch.randn(4, 5, 3).double(), target, options)
    assert_close(given.ours(), *given.theirs(), 1e-12)


def test_one_hot_targets_are_indices():
    input, index = torch.randn(4, 5, 3).double(), torch.randint(5, (4, 3))
    one_hot = torch.eye(5).double()[index].movedim(-1, 1)
    for smoothing in (0.0, 0.2):
        by_index = ce_engine.cross_entropy(input, index, label_smoothing=smoothing, grad=True)
        by_probability = ce_engine.cross_entropy(input, one_hot, label_smoothing=smoothing, grad=True)
        assert_close(by_probability, by_index.loss, by_index.grad, 1e-14)


def test_weights_leave_the_divisor_alone():
    """The mean for class indices is divided by their weights, and the mean for probabilities is not."""
    input, weight = torch.randn(2, 3), torch.tensor([1.0, 2.0, 4.0])
    assert ce_engine.cross_entropy(input, torch.tensor([1, 2]), weight).weight_sum == 6
    assert ce_engine.cross_entropy(input, torch.eye(3)[[1, 2]], weight).weight_sum == 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target_dtype", FLOATS)
def test_target_of_another_dtype(dtype, target_dtype):
    input, target = distributions(4, 5)
    input, target = input.to(dtype), target.to(target_dtype)
    result = ce_engine.cross_entropy(input, target, reduction="none", grad=True)
    compute = torch.float64 if dtype is torch.float64 else torch.float32
    wide = ce_engine.cross_entropy(input.to(compute), target.to(compute), reduction="none", grad=True)
    assert torch.equal(result.loss, wide.loss)
    assert torch.equal(present(result.grad), present(wide.grad).to(dtype))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_impossible_class_makes_nan(share):
    # 0 * log 0 is NaN in PyTorch, even if the target's probability of that class is 0.
    input, target = distributions(3, 4)
    input[1, 2], target[1, 2] = -math.inf, share
    given = Problem("cross_entropy", input, target, {})
    result = given.ours(reduction="none")
    assert_close(result, *given.theirs(reduction="none"), 1e-12)
    assert result.loss.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_row_not_finite_harms_no_other(value):
    input, target = distributions(3, 4)
    input[1] = value
    given = Problem("cross_entropy", input, target, {"label_smoothing": 0.1})
    assert_close(given.ours(reduction="none"), *given.theirs(reduction="none"), 1e-12)


@pytest.mark.parametrize("ignore_index", [0, 1, 100])
def test_ignore_index_of_a_class_is_refused(ignore_index):
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"ignore_index: expected a negative one .*, got"):
        ce_engine.cross_entropy(*distributions(2, 3), ignore_index=ignore_index)


def test_ignore_index_ignores_nothing():
    assert ce_engine.cross_entropy(*distributions(2, 3), ignore_index=-1).row_count == 2


@pytest.mark.parametrize("weight", ["balanced", "complement"])
def test_weights_from_targets_are_refused(weight):
    with pytest.raises(ce_engine.InvalidArgumentError, match="weight: expected numbers for probability targets, got"):
        ce_engine.cross_entropy(*distributions(2, 3), weight=weight)
