"""Any shape, any option, any logits: what PyTorch says is what the engine says."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

import ce_engine

VALUES = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([float("inf"), float("-inf"), float("nan"), 0.0]))


@st.composite
def batches(draw):
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    class_count = draw(st.integers(1, 6))
    input_shape = (shape[0], class_count, *shape[1:]) if draw(st.booleans()) else (class_count,)
    target_shape = (input_shape[0], *input_shape[2:]) if len(input_shape) > 1 else ()
    count = torch.Size(input_shape).numel()
    input = torch.tensor(draw(st.lists(VALUES, min_size=count, max_size=count)), dtype=torch.float64)
    ignore_index = draw(st.sampled_from([-100, -1, 0, class_count]))
    rows = torch.Size(target_shape).numel()
    classes = st.one_of(st.integers(0, class_count - 1), st.just(ignore_index))
    target = torch.tensor(draw(st.lists(classes, min_size=rows, max_size=rows)), dtype=torch.int64)
    weights = st.lists(st.floats(-2, 2), min_size=class_count, max_size=class_count)
    weight = draw(st.none() | weights.map(lambda values: torch.tensor(values, dtype=torch.float64)))
    return input.reshape(input_shape), target.reshape(target_shape), weight, ignore_index


@given(
    batches(),
    st.sampled_from(["none", "mean", "sum"]),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_loss_is_that_of_torch(batch, reduction, label_smoothing):
    input, target, weight, ignore_index = batch
    options = {"ignore_index": ignore_index, "reduction": reduction, "label_smoothing": label_smoothing}
    result = ce_engine.cross_entropy(input, target, weight, **options)
    # docs/numerics.md: dividing by zero, PyTorch divides the two terms of a smoothed loss apart, and we their sum.
    assume(not (reduction == "mean" and label_smoothing and result.row_count and result.weight_sum == 0))
    ours, theirs = result.loss, F.cross_entropy(input, target, weight, **options)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9, equal_nan=True)


@given(batches(), st.sampled_from([0.0, 0.1]))
def test_gradient_of_sum_is_that_of_torch_but_zero_for_ignored_rows(batch, label_smoothing):
    input, target, weight, ignore_index = batch
    options = {"ignore_index": ignore_index, "reduction": "sum", "label_smoothing": label_smoothing}
    leaf = input.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(F.cross_entropy(leaf, target, weight, **options), leaf)
    ignored = (target == ignore_index).unsqueeze(1 if input.dim() > 1 else 0)
    ours = ce_engine.cross_entropy(input, target, weight, **options, grad=True).grad
    torch.testing.assert_close(ours, theirs.masked_fill(ignored, 0), atol=1e-9, rtol=1e-9, equal_nan=True)
