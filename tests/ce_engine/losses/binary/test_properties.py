"""For any shapes, options and numbers, the engine's binary losses are PyTorch's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.ce_engine.helpers import HALVES, REDUCTIONS, Problem, assert_no_worse
from tests.ce_engine.losses.test_properties import FINITE, TOLERANCE, VALUES, WEIGHTS, tensors

SHARES = st.floats(0, 1)
# test_binary_edges.py has the gradient for smaller p (1 - p).
STEEP = st.floats(2**-36, 1 - 2**-36)


@st.composite
def broadcastable(draw, shape, values):
    """A tensor that broadcasts to that shape, or None."""
    if draw(st.booleans()):
        return None
    kept = shape[draw(st.integers(0, len(shape))) :]
    return draw(tensors(tuple(draw(st.sampled_from([1, size])) for size in kept), values))


# Infinite weights are in test_binary_edges.py: PyTorch's sigmoid is 0 from -709.8 on, but ours is not yet, so infinite
# weights would give NaN there and infinity here.
@st.composite
def problems(draw, loss, values, targets, weights=FINITE):
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    options = {"weight": draw(broadcastable(shape, weights)), "reduction": draw(st.sampled_from(REDUCTIONS))}
    if loss == "binary_cross_entropy_with_logits":
        options["pos_weight"] = draw(broadcastable(shape, weights))
    return Problem(loss, draw(tensors(shape, values)), draw(tensors(shape, targets)), options)


def assert_agrees(one, *, grad=True):
    result, (loss, true_grad) = one.ours(), one.theirs()
    # Logits, targets and two weights of 1e4 each multiply: the error is relative to the largest product.
    terms = one.ours(reduction="none", grad=False).loss.nan_to_num(0, 0, 0).abs().sum()
    atol = TOLERANCE * (1 + float(terms))
    torch.testing.assert_close(result.loss, loss, atol=atol, rtol=TOLERANCE, equal_nan=True)
    if grad:
        torch.testing.assert_close(result.grad, true_grad, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True)
    assert result.weight_sum == result.row_count == one.input.numel()


@given(problems("binary_cross_entropy", SHARES, SHARES))
def test_losses_of_probabilities(one):
    assert_agrees(one, grad=False)


@given(problems("binary_cross_entropy", STEEP, SHARES))
def test_steep_gradients_are_as_in_torch(one):
    assert_agrees(one)


@given(problems("binary_cross_entropy_with_logits", VALUES, SHARES | VALUES))
def test_logits_are_as_in_torch(one):
    assert_agrees(one)


@pytest.mark.parametrize("dtype", HALVES)
@given(
    one=problems("binary_cross_entropy_with_logits", st.floats(-20, 20, width=16), SHARES, WEIGHTS)
    | problems("binary_cross_entropy", st.floats(2**-10, 1 - 2**-7), SHARES, WEIGHTS)
)
def test_halves_are_no_worse_than_torch(one, dtype):
    one = one.to(dtype)
    result, (loss, grad) = one.ours(grad_dtype=torch.float32), one.theirs()
    true_loss, true_grad = one.to(torch.float64).theirs()
    # Roundings of float32, of losses up to 20 times two weights of 2, and of slopes up to 1000.
    assert_no_worse(result.loss, loss, true_loss, 100)
    assert_no_worse(result.grad, grad, true_grad, 2000)
