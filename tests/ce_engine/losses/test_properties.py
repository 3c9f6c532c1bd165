"""For any shapes, options and numbers, the engine's losses over classes are PyTorch's."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.ce_engine.helpers import HALVES, REDUCTIONS, Problem, assert_no_worse

pytestmark = pytest.mark.usefixtures("either_kernels")

MODERATE = st.floats(-20, 20, width=16)
FINITE = st.floats(-1e4, 1e4)
VALUES = st.one_of(FINITE, st.sampled_from([float("inf"), float("-inf"), float("nan"), 0.0]))
WEIGHTS = st.integers(-8, 8).map(lambda n: n / 4)  # their sums are exact, so that zero is zero in any order
TOLERANCE = 1e-9  # of float64 numbers of up to 1e4, of which dozens are added up


@st.composite
def tensors(draw, shape, values):
    count = torch.Size(shape).numel()
    numbers = draw(st.lists(values, min_size=count, max_size=count))
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape)


@st.composite
def inputs(draw, values):
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    classes = draw(st.integers(1, 6))
    return draw(tensors((shape[0], classes, *shape[1:]) if draw(st.booleans()) else (classes,), values))


@st.composite
def index_problems(draw, losses=("cross_entropy", "nll_loss"), values=VALUES):
    input = draw(inputs(values))
    row_shape = (input.shape[0], *input.shape[2:]) if input.dim() > 1 else ()
    classes = input.shape[min(1, input.dim() - 1)]
    options = {
        "ignore_index": draw(st.sampled_from([-100, -1, 0, classes])),
        "weight": draw(st.none() | tensors((classes,), WEIGHTS)),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    loss = draw(st.sampled_from(losses))
    if loss == "cross_entropy":
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    target = draw(tensors(row_shape, st.integers(0, classes - 1) | st.just(options["ignore_index"])))
    return Problem(loss, input, target.long(), options)


@st.composite
def probability_problems(draw, values=VALUES, shares=VALUES):
    input = draw(inputs(values))
    options = {
        "weight": draw(st.none() | tensors((input.shape[min(1, input.dim() - 1)],), WEIGHTS)),
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
    }
    return Problem("cross_entropy", input, draw(tensors(input.shape, shares)), options)


def largest(x):
    return max(x.nan_to_num(0, 0, 0).abs().flatten().tolist(), default=0.0)


def divides_by_zero(one):
    """docs/numerics.md: there PyTorch divides the two terms of a smoothed loss separately, and we divide their sum."""
    result = one.ours(grad=False)
    mean_of_smoothed = one.options["reduction"] == "mean" and one.options.get("label_smoothing", 0) > 0
    return mean_of_smoothed and result.row_count > 0 and result.weight_sum == 0


def underflows_beside_infinity(one):
    """docs/numerics.md: PyTorch multiplies an infinite target by probabilities that are not normal, and ours are 0."""
    probabilities = one.input.softmax(min(1, one.input.dim() - 1))
    subnormal = (probabilities > 0) & (probabilities < torch.finfo(torch.float64).tiny)
    return subnormal.any() and one.target.isinf().any()


def zero_where_ignored(grad, one):
    """docs/numerics.md: there PyTorch's gradient is NaN if an input is not finite, and ours is 0."""
    ignored = one.target == one.options["ignore_index"]
    return grad.masked_fill(ignored.unsqueeze(min(1, grad.dim() - 1)), 0)


def assert_agrees(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True)


@given(index_problems())
def test_indices_are_as_in_torch(one):
    assume(not divides_by_zero(one))
    result, (loss, grad) = one.ours(), one.theirs()
    assert_agrees(result.loss, loss)
    assert_agrees(result.grad, zero_where_ignored(grad, one))
    assert result.row_count + result.ignored_count == one.target.numel()
    assert result.ignored_count == int((one.target == one.options["ignore_index"]).sum())


@given(probability_problems())
def test_probabilities_are_as_in_torch(one):
    assume(not underflows_beside_infinity(one))
    result, (loss, grad) = one.ours(), one.theirs()
    # Each term is a product of the two, and terms may cancel.
    size = largest(one.input) * largest(one.target)
    atol = max(TOLERANCE, 1e-12 * size)
    torch.testing.assert_close(result.loss, loss, atol=atol, rtol=TOLERANCE, equal_nan=True)
    assert_agrees(result.grad, grad)


@given(index_problems(values=FINITE), st.data())
def test_weight_and_incoming_multiply(one, data):
    plain = one.ours(reduction="none")
    weight, incoming = (data.draw(tensors(plain.loss.shape, WEIGHTS)) for _ in range(2))
    result = one.ours(reduction="none", sample_weight=weight, grad_output=incoming)
    assert_agrees(result.loss, plain.loss * weight)
    assert_agrees(result.grad, plain.grad * (weight * incoming).unsqueeze(min(1, plain.grad.dim() - 1)))


@pytest.mark.parametrize("dtype", HALVES)
@given(one=index_problems(values=MODERATE) | probability_problems(MODERATE, st.floats(0, 1, width=16)))
def test_halves_are_no_worse_than_torch(one, dtype):
    one = one.to(dtype)
    assume(not divides_by_zero(one))
    result, (loss, grad) = one.ours(grad_dtype=torch.float32), one.theirs()
    true_loss, true_grad = one.to(torch.float64).theirs()
    # Roundings of float32, of numbers up to 20 times 6 classes times a weight of 2; sums of weights may be small.
    size = 240 * max(1.0, largest(true_grad))
    assert_no_worse(result.loss, loss, true_loss, size)
    assert_no_worse(result.grad, grad, true_grad, size)
