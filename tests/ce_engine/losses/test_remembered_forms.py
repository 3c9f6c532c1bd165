"""Calls whose form was planned before have the same results and the same errors as the first of their form."""

import weakref
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import slabs
from ce_engine._plans import remembered
from tests.ce_engine.helpers import FLOATS
from tests.present import present

F = torch.nn.functional
LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def batch(loss, seed, shape=(5, 4)):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    if loss.startswith("binary"):
        return x, torch.rand(shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2)])
@pytest.mark.parametrize("loss", LOSSES)
def test_each_call_of_a_form_has_its_own_numbers(loss, shape):
    for seed in range(3):
        x, target = batch(loss, seed, shape)
        result = getattr(ce_engine, loss)(x, target, grad=True)
        leaf = x.clone().requires_grad_()
        expected = getattr(F, loss)(leaf, target)
        torch.testing.assert_close(result.loss, expected.detach())
        torch.testing.assert_close(result.grad, torch.autograd.grad(expected, leaf)[0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_layout_of_the_input_is_no_part_of_a_form(loss, dtype):
    x, target = batch(loss, 0, (40, 7))
    x = x.to(dtype)
    contiguous = [getattr(ce_engine, loss)(x, target, grad=True) for _ in range(2)]
    turned = getattr(ce_engine, loss)(x.t().contiguous().t(), target, grad=True)
    negated = getattr(ce_engine, loss)(torch._neg_view(-x), target, grad=True)
    for result in (*contiguous, turned, negated):
        assert torch.equal(result.loss, contiguous[0].loss)
        assert torch.equal(result.grad, contiguous[0].grad)


@pytest.mark.parametrize("option", ["lse", "probabilities", "predictions"])
def test_outputs_are_written_in_a_known_form(option):
    for seed in range(3):
        x, target = batch("cross_entropy", seed)
        result = ce_engine.cross_entropy(x, target, outputs=(option,))
        expected = {"lse": x.logsumexp(1), "probabilities": x.softmax(1), "predictions": x.argmax(1)}
        torch.testing.assert_close(getattr(result, option), expected[option])


def test_gradient_is_written_where_it_is_wanted_in_a_known_form():
    x, target = batch("cross_entropy", 0)
    expected = ce_engine.cross_entropy(x, target, grad=True)
    slab, memory = slabs.cross_entropy(x, target, grad=True), torch.empty_like(x)
    assert ce_engine.evaluate(slab, grad_into=memory).grad is memory
    assert torch.equal(memory, present(expected.grad))


@pytest.mark.usefixtures("each_library")
def test_form_is_evaluated_by_the_library_in_use():
    x, target = batch("cross_entropy", 0)
    for _ in range(2):
        torch.testing.assert_close(ce_engine.cross_entropy(x, target).loss, F.cross_entropy(x, target))


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_rows_are_ignored_in_a_form_that_ignored_none_before(loss):
    x, target = batch(loss, 0)
    getattr(ce_engine, loss)(x, target)
    target[2] = -100
    result = getattr(ce_engine, loss)(x, target)
    assert (result.row_count, result.ignored_count) == (4, 1)
    torch.testing.assert_close(result.loss, getattr(F, loss)(x, target))


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_class_that_is_ignored_may_be_missing_at_first(loss):
    x, target = batch(loss, 0)
    target[target == 3] = 0
    getattr(ce_engine, loss)(x, target, ignore_index=3)
    target[1] = 3
    result = getattr(ce_engine, loss)(x, target, ignore_index=3)
    assert result.ignored_count == 1
    torch.testing.assert_close(result.loss, getattr(F, loss)(x, target, ignore_index=3))


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_wrong_class_is_refused_in_a_known_form(loss):
    x, target = batch(loss, 0)
    getattr(ce_engine, loss)(x, target)
    target[3] = 4
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"target: expected classes in \[0, 4\).*got 4"):
        getattr(ce_engine, loss)(x, target)


@pytest.mark.parametrize("name", ["input", "target"])
def test_wrong_probability_is_refused_in_a_known_form(name):
    x, target = batch("binary_cross_entropy", 0)
    ce_engine.binary_cross_entropy(x, target)
    {"input": x, "target": target}[name][1, 2] = 1.5
    with pytest.raises(ce_engine.InvalidArgumentError, match=rf"{name}: expected probabilities .*got 1.5"):
        ce_engine.binary_cross_entropy(x, target)


def test_options_that_are_equal_but_of_wrong_type_are_refused():
    x, target = batch("cross_entropy", 0)
    ce_engine.cross_entropy(x, target, grad=True, label_smoothing=1.0)
    with pytest.raises(ce_engine.InvalidArgumentError, match="grad: expected bool, got int"):
        ce_engine.cross_entropy(x, target, grad=1, label_smoothing=1.0)  # type: ignore[arg-type]
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"label_smoothing: expected .*got bool"):
        ce_engine.cross_entropy(x, target, grad=True, label_smoothing=True)


def test_weights_may_change_between_calls():
    x, target = batch("cross_entropy", 0)
    weight = torch.ones(4, dtype=torch.float64)
    for factor in (1, 3):
        weight[1] = factor
        torch.testing.assert_close(ce_engine.cross_entropy(x, target, weight).loss, F.cross_entropy(x, target, weight))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sample_weight", "grad_output"])
def test_factors_of_rows_may_change_between_calls(name, label_smoothing):
    x, target = batch("cross_entropy", 0)
    options: dict[str, Any] = {"reduction": "none", "label_smoothing": label_smoothing, "grad": True}
    expected = present(ce_engine.cross_entropy(x, target, **options).grad)
    factors = torch.ones(5, dtype=torch.float64)
    options[name] = factors
    for factor in (1, 3):
        factors.fill_(factor)
        result = ce_engine.cross_entropy(x, target, **options)
        torch.testing.assert_close(result.grad, factor * expected)


@pytest.mark.parametrize("name", ["sample_weight", "grad_output"])
def test_factors_of_rows_may_change_between_calls_with_probability_targets(name):
    x, target = batch("cross_entropy", 0)[0], torch.full((5, 4), 0.25, dtype=torch.float64)
    expected = present(ce_engine.cross_entropy(x, target, reduction="none", grad=True).grad)
    factors = torch.ones(5, dtype=torch.float64)
    options: dict[str, Any] = {"reduction": "none", "grad": True, name: factors}
    for factor in (1, 3):
        factors.fill_(factor)
        result = ce_engine.cross_entropy(x, target, **options)
        torch.testing.assert_close(result.grad, factor * expected)


def test_incoming_gradient_of_a_mean_may_change_between_calls():
    x, target = batch("cross_entropy", 0)
    expected = present(ce_engine.cross_entropy(x, target, grad=True).grad)
    incoming = torch.ones((), dtype=torch.float64)
    for factor in (1, 3):
        incoming.fill_(factor)
        result = ce_engine.cross_entropy(x, target, grad=True, grad_output=incoming)
        torch.testing.assert_close(result.grad, factor * expected)


def test_tensors_of_calls_are_not_kept():
    x, target = batch("cross_entropy", 0)
    factors = torch.ones(5, dtype=torch.float64)
    ce_engine.cross_entropy(x, target, reduction="none", grad=True, grad_output=factors)
    gone = weakref.ref(factors)
    del factors
    assert gone() is None


@pytest.mark.parametrize(("weighting", "weights"), [("balanced", [2 / 3, 2]), ("complement", [0.25, 0.75])])
def test_weights_are_computed_from_each_calls_targets(weighting, weights):
    x, target = torch.randn(4, 2), torch.tensor([0, 0, 0, 1])
    ce_engine.cross_entropy(x, torch.tensor([0, 1, 0, 1]), weighting)
    result = ce_engine.cross_entropy(x, target, weighting)
    torch.testing.assert_close(result.loss, F.cross_entropy(x, target, torch.tensor(weights)))


def test_slabs_of_a_form_share_no_memory_of_earlier_calls():
    x, target = batch("cross_entropy", 0)
    first, second = (slabs.cross_entropy(x, target) for _ in range(2))
    other, other_target = batch("cross_entropy", 1)
    third = slabs.cross_entropy(other, other_target)
    assert third.input.data_ptr() == other.data_ptr()
    assert third.rows.classes is not None
    assert third.rows.classes.data_ptr() == other_target.data_ptr()
    assert first.kind == second.kind == third.kind


def test_input_that_requires_grad_is_detached():
    leaf = batch("binary_cross_entropy_with_logits", 0)[0].requires_grad_()
    for _ in range(2):
        slab = slabs.binary_cross_entropy_with_logits(leaf, leaf * 1)
        assert slab.target is not None
        assert not slab.input.requires_grad
        assert not slab.target.requires_grad


def test_forms_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(remembered, "MOST", 2)
    for rows in range(1, 8):
        x, target = batch("cross_entropy", rows, (rows, 4))
        for _ in range(2):
            torch.testing.assert_close(ce_engine.cross_entropy(x, target).loss, F.cross_entropy(x, target))
