"""Weights computed from the targets of the batch itself."""

import numpy as np
import pytest
import torch
from torch import tensor

import ce_engine
from tests.ce_engine.helpers import INTEGERS, REDUCTIONS, assert_close
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

LOSSES = ("cross_entropy", "nll_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
TARGET = tensor([0, 2, 2, 1, 2, 0, 2, 2])


def complement(target, classes):
    return 1 - torch.bincount(target.flatten(), minlength=classes).double() / target.numel()


def balanced(target, classes):
    from sklearn.utils.class_weight import compute_class_weight  # at the top it would cost every worker seconds

    return tensor(compute_class_weight("balanced", classes=np.arange(classes), y=target.flatten().numpy()))


FORMULAS = {"complement": complement, "balanced": balanced}


def assert_same(ours, theirs):
    assert_close(ours, theirs.loss, theirs.grad, 1e-14)
    assert ours.weight_sum == pytest.approx(theirs.weight_sum, rel=1e-14)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("weighting", FORMULAS)
def test_weights_are_those_of_the_formula(weighting, options, reduction):
    input, target = torch.randn(4, 3, 2).double(), TARGET.view(4, 2)
    weight = FORMULAS[weighting](target, 3)
    losses = LOSSES if not options else LOSSES[:1]
    for loss in (getattr(ce_engine, name) for name in losses):
        by_name = loss(input, target, weighting, reduction=reduction, grad=True, **options)
        assert_same(by_name, loss(input, target, weight, reduction=reduction, grad=True, **options))


def test_complement_of_two_classes():
    target = tensor([1, 0, 0, 0])
    result = ce_engine.nll_loss(-torch.ones(4, 2), target, "complement", reduction="none")
    assert result.loss.tolist() == [0.75, 0.25, 0.25, 0.25]


def test_balanced_classes_weigh_the_same():
    result = ce_engine.nll_loss(-torch.ones(8, 3).double(), TARGET, "balanced", reduction="none")
    assert [result.loss[tensor(c) == TARGET].sum().item() for c in range(3)] == pytest.approx([8 / 3] * 3)
    assert result.weight_sum == pytest.approx(8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighting", FORMULAS)
@pytest.mark.parametrize("ignore_index", [-100, 1])
def test_ignored_rows_do_not_count(ignore_index, weighting, loss):
    target = TARGET.clone()
    target[[3, 5]] = ignore_index
    counted = target[target != ignore_index]
    # A class without rows has no weight in `balanced`, which scikit-learn cannot express.
    classes = torch.bincount(counted, minlength=3).double()
    weight = {
        "complement": 1 - classes / 6,
        "balanced": torch.where(classes > 0, 6 / (3 * classes), 0),
    }[weighting]
    input, evaluate = torch.randn(8, 3).double(), getattr(ce_engine, loss)
    options = {"ignore_index": ignore_index, "grad": True}
    assert_same(evaluate(input, target, weighting, **options), evaluate(input, target, weight, **options))


@pytest.mark.parametrize("weighting", FORMULAS)
def test_absent_class_has_a_finite_weight(weighting):
    result = ce_engine.cross_entropy(torch.randn(3, 5), tensor([0, 1, 1]), weighting, label_smoothing=0.2, grad=True)
    assert result.loss.isfinite()
    assert present(result.grad).isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighting", FORMULAS)
@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_that_counts_is_nan(rows, weighting, loss):
    target = torch.full((rows,), -100)
    result = getattr(ce_engine, loss)(torch.randn(rows, 3), target, weighting, grad=True)
    assert result.loss.isnan()
    assert not present(result.grad).any()
    assert (result.weight_sum, result.row_count) == (0, 0)


def test_complement_of_a_single_class():
    # All weights are 0: as in PyTorch with such weights, the mean is NaN.
    assert ce_engine.cross_entropy(torch.randn(3, 2), tensor([1, 1, 1]), "complement").loss.isnan()


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("weighting", FORMULAS)
def test_target_may_be_of_any_integer_dtype(weighting, dtype):
    input = torch.randn(8, 3).double()
    ours = ce_engine.cross_entropy(input, TARGET.to(dtype), weighting, grad=True)
    assert_same(ours, ce_engine.cross_entropy(input, TARGET, weighting, grad=True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighting", FORMULAS)
@pytest.mark.parametrize("loss", BINARY)
def test_binary_elements_weigh_by_class(loss, weighting, reduction):
    input = torch.rand(5, 3).double()
    positive = tensor([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0]).view(5, 3)
    weight = FORMULAS[weighting](positive, 2)[positive]
    evaluate, options = getattr(ce_engine, loss), {"reduction": reduction, "grad": True}
    by_name = evaluate(input, positive.double(), weighting, **options)
    assert_same(by_name, evaluate(input, positive.double(), weight, **options))
    assert by_name.weight_sum == 15


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, float("nan")])
def test_targets_between_classes_are_refused(value, loss):
    message = r"target: expected (only 0 and 1 with weight='balanced'|probabilities in \[0, 1\]), got .* at element 1"
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        getattr(ce_engine, loss)(torch.rand(3), tensor([0.0, value, 1.0]), "balanced")


@pytest.mark.parametrize("loss", LOSSES + BINARY)
def test_unknown_weighting_is_refused(loss):
    target = tensor([0, 1]) if loss in LOSSES else torch.zeros(2, 3)
    with pytest.raises(ce_engine.InvalidArgumentError, match="weight: expected one of 'balanced', 'complement', got"):
        getattr(ce_engine, loss)(torch.rand(2, 3), target, "equal")
