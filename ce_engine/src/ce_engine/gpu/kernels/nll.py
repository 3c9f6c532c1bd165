"""Negative log-likelihood, which takes one number of each row, and the argmax of rows."""

import triton
import triton.language as tl

from ce_engine.gpu.kernels.blocks import load_logits, narrowed
from ce_engine.gpu.kernels.online import add_keys, first_largest, order


@triton.jit
def nll_kernel(
    x_ptr,  # (R, C), log-probabilities
    classes_ptr,  # (R)
    ignored_ptr,  # (R)
    weight_ptr,  # (R)
    scale_ptr,  # (R) or (1)
    losses_ptr,  # (R)
    predictions_ptr,  # (R), to be compared; None if not wanted
    correct_ptr,  # (R)
    grad_ptr,  # (R, C)
    probabilities_ptr,  # (R, C)
    log_probabilities_ptr,  # (R, C)
    row_count,
    class_groups,  # C / GROUP
    GROUP: tl.constexpr,
    SCALE_STRIDE: tl.constexpr,  # 0 if all rows share one factor
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    dtype: tl.constexpr = losses_ptr.dtype.element_ty
    class_count = class_groups * GROUP
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    live = row < row_count
    start = row * class_count
    y = tl.load(classes_ptr + row, mask=live, other=0)
    ignored = row < 0
    if ignored_ptr is not None:
        ignored = tl.load(ignored_ptr + row, mask=live, other=0) != 0
    factor = tl.full([ROWS, 1], 1.0, dtype)
    if weight_ptr is not None:
        factor = tl.load(weight_ptr + row, mask=live, other=0.0)

    if tl.program_id(1) == 0:
        # Classes were checked on the host. If one is out of range nevertheless, nothing is read and the loss is NaN.
        in_range = live & (y >= 0) & (y < class_count)
        x_y = tl.load(x_ptr + start + y, mask=in_range, other=float("nan")).to(dtype)
        tl.store(losses_ptr + row, tl.where(ignored, 0.0, -x_y * factor), mask=live)
        if predictions_ptr is not None:
            correct = (tl.load(predictions_ptr + row, mask=live, other=0) == y) & (ignored == 0)
            tl.store(correct_ptr + row, correct, mask=live)

    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    offsets = start + columns
    mask = live & (columns < class_count)
    if grad_ptr is not None:
        slope = -tl.load(scale_ptr + row * SCALE_STRIDE, mask=live, other=0.0) * factor
        grad = tl.where((columns == y) & (ignored == 0), slope, 0.0)
        tl.store(grad_ptr + offsets, narrowed(grad, grad_ptr.dtype.element_ty), mask=mask)
    if probabilities_ptr is not None or log_probabilities_ptr is not None:
        x = load_logits(x_ptr, offsets, mask, dtype, False)
        if probabilities_ptr is not None:
            tl.store(probabilities_ptr + offsets, tl.exp(x), mask=mask)
        if log_probabilities_ptr is not None:
            tl.store(log_probabilities_ptr + offsets, x, mask=mask)


@triton.jit
def argmax_kernel(
    x_ptr,  # (R, C)
    predictions_ptr,  # (R)
    row_count,
    class_groups,  # C / GROUP
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
):
    dtype: tl.constexpr = tl.float64 if x_ptr.dtype.element_ty == tl.float64 else tl.float32
    class_count = class_groups * GROUP
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    live = row < row_count
    key = order(tl.full([ROWS, LANES], float("-inf"), dtype)) - 1
    prediction = tl.zeros([ROWS, LANES], tl.int32)
    for first in range(0, class_count, BLOCK):
        columns = first + tl.arange(0, BLOCK)[None, :]
        mask = live & (columns < class_count)  # padding comes last, so it wins no tie
        x = load_logits(x_ptr, row * class_count + columns, mask, dtype, False)
        key, prediction = add_keys(key, prediction, order(x), columns, LANES)
    _, prediction = first_largest(key, prediction)
    tl.store(predictions_ptr + row, prediction[:, None].to(tl.int64), mask=live)
