"""The gradient: the incoming gradient, its own dtype, and that nothing else is changed."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import ce_engine
from tests.ce_engine.helpers import FLOATS, PROBLEMS, REDUCTIONS, Problem, assert_close, loss_shape, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


@pytest.mark.parametrize(("kind", "shape", "reduction"), pairs(PROBLEMS, [(5,), (4, 5), (4, 5, 3), (0, 5)], REDUCTIONS))
def test_incoming_scales_as_backward_does(kind, shape, reduction):
    given = problem(kind, shape)
    incoming = torch.randn(loss_shape(given) if reduction == "none" else ()).double()
    result = given.ours(reduction=reduction, grad_output=incoming)
    assert_close(result, *given.theirs(incoming, reduction=reduction), 1e-12)


@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "nll_loss"])
def test_incoming_of_ignored_rows_is_unused(kind):
    given = problem(kind)
    incoming = torch.ones(loss_shape(given))
    incoming[2] = float("nan")
    result = given.ours(reduction="none", grad_output=incoming)
    assert_close(result, *given.theirs(reduction="none"), 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_incoming_may_have_another_dtype(kind, dtype):
    given = problem(kind, dtype=torch.float32)
    incoming = torch.randn(loss_shape(given)).to(dtype)
    narrow, wide = (given.ours(reduction="none", grad_output=x) for x in (incoming, incoming.double()))
    assert torch.equal(present(narrow.grad), present(wide.grad))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_incoming_of_another_shape_is_refused(kind, reduction):
    given = problem(kind)
    for shape in {(), (4,), (4, 5, 3), (4, 3), (1,)} - {given.ours(reduction=reduction).loss.shape}:
        with pytest.raises(ce_engine.InvalidArgumentError, match="grad_output: expected the loss's shape"):
            given.ours(reduction=reduction, grad_output=torch.ones(shape))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_grad_dtype_is_rounded_to_once(kind, dtype):
    given = problem(kind, dtype=dtype)
    assert present(given.ours().grad).dtype == dtype
    wide = given.ours(grad_dtype=torch.float64 if dtype is torch.float64 else torch.float32).grad
    for other in FLOATS:
        grad = present(given.ours(grad_dtype=other).grad)
        assert grad.dtype == other
        assert torch.equal(grad, present(wide).to(other))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_gradient_changes_no_loss(kind, dtype):
    given = problem(kind, dtype=dtype)
    for reduction in REDUCTIONS:
        result = given.ours(reduction=reduction)
        assert result.loss.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
        without = given.ours(reduction=reduction, grad=False)
        assert without.grad is None
        assert torch.equal(without.loss, result.loss)


@pytest.mark.parametrize("arguments", [{"grad_output": torch.ones(())}, {"grad_dtype": torch.float32}])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_options_need_a_gradient(kind, arguments):
    (name,) = arguments
    with pytest.raises(ce_engine.InvalidArgumentError, match=f"{name}: expected grad=True with it, got grad=False"):
        problem(kind).ours(grad=False, **arguments)


def test_integer_grad_dtype_is_refused():
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"grad_dtype: expected one of float64, .*, got int8"):
        problem("nll_loss").ours(grad_dtype=torch.int8)


def at_once(given: Problem, **options: Any) -> ce_engine.LossResult:
    # In a thread of its own, whose scratch memory ends with it: if it required a gradient, all later tests would fail.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(given.ours, **options).result(20)


def submitted(given: Problem, **options: Any) -> ce_engine.LossResult:
    slab = getattr(ce_engine.slabs, given.loss)(given.input, given.target, **given.options, **options, grad=True)
    with ce_engine.Engine() as engine:
        result: ce_engine.LossResult = engine.submit(slab).result(20)
        return result


@pytest.mark.parametrize("evaluate", [at_once, submitted])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_arguments_keep_their_graph(kind, evaluate):
    given = problem(kind)
    tensors = [x for x in (given.input, given.target, *given.options.values()) if isinstance(x, torch.Tensor)]
    before = [x.clone() for x in tensors]
    for x in tensors:
        x.requires_grad_(x.is_floating_point())
    result = evaluate(given, outputs=["probabilities", "log_probabilities", "predictions"])
    assert all(torch.equal(x, y) and x.grad is None for x, y in zip(tensors, before, strict=True))
    assert not any(x.requires_grad for x in (result.loss, result.grad, result.probabilities, result.log_probabilities))


@pytest.mark.parametrize("kind", PROBLEMS)
def test_results_share_no_memory(kind):
    given = problem(kind)
    result = given.ours(reduction="none", outputs=["probabilities", "log_probabilities", "predictions"])
    names = ("loss", "grad", "probabilities", "log_probabilities", "predictions")
    tensors = [given.input, given.target, *(getattr(result, name) for name in names)]
    for a, b in itertools.combinations(tensors, 2):
        assert a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr()
