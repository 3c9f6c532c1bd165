"""Softmax cross-entropy of rows of logits.

A program reads its rows block after block, once. The last block stays in registers; most rows have only one. If
tensors of the input's shape are wanted, the blocks before it are read a second time, the latest first, so that they
come from the L2 cache if it is large enough.

With t_c = w_c ((1 - e) y_c + e / C) as in ``ce_engine.cpu._targets``, m the largest logit and s = sum_c exp(x_c - m):

    loss = log(s) sum_c t_c - sum_c t_c (x_c - m)        gradient = exp(x_j - m) / s sum_c t_c - t_j
    entropy = log(s) - sum_c exp(x_c - m) (x_c - m) / s

A class index y is not spread over columns: its part of the loss is w_y (1 - e) (m - x_y + log(s)). With z_loss z, the
square of the log-sum-exp l = m + log(s) is added to it: z w_y l^2, and 2 z w_y l to sum_c t_c in the gradient.
"""

import triton
import triton.language as tl

from ce_engine.gpu.kernels.blocks import load_logits, load_spread, store_grad
from ce_engine.gpu.kernels.online import (
    add_exponentials,
    add_keys,
    add_moments,
    add_products,
    bounded,
    finite,
    first_largest,
    in_lanes,
    moved_moment,
    order,
)


# Row counts must not change the code that is compiled, and with it a row's bits.
@triton.jit(do_not_specialize=["row_count", "class_groups"])
def softmax_kernel(
    x_ptr,  # (R, C)
    target_ptr,  # (R, C), probabilities; None for class indices
    classes_ptr,  # (R), class indices; for probabilities only where predictions are wanted: their largest
    ignored_ptr,  # (R)
    weight_ptr,  # (R), factor of a row's loss
    target_weight_ptr,  # (R), with label smoothing w_y
    scale_ptr,  # (R) or (1)
    class_weight_ptr,  # (C), for probabilities
    smooth_ptr,  # (C) or (1), w_c e / C
    keep_ptr,  # (1), 1 - e
    z_loss_ptr,  # (1)
    losses_ptr,  # (R)
    z_losses_ptr,  # (R)
    target_log_probabilities_ptr,  # (R), of class indices
    log_totals_ptr,  # (R), log(s)
    lse_ptr,  # (R)
    entropy_ptr,  # (R)
    predictions_ptr,  # (R)
    correct_ptr,  # (R)
    grad_ptr,  # (R, C)
    probabilities_ptr,  # (R, C)
    log_probabilities_ptr,  # (R, C)
    row_count,
    class_groups,  # C / GROUP
    GROUP: tl.constexpr,
    SCALE_STRIDE: tl.constexpr,  # 0 if all rows share one factor
    SMOOTH_STRIDE: tl.constexpr,  # 0 if all classes share one
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LANES: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
):
    dtype: tl.constexpr = losses_ptr.dtype.element_ty
    INDEX: tl.constexpr = target_ptr is None
    SPREAD: tl.constexpr = target_ptr is not None or keep_ptr is not None
    ELEMENTS: tl.constexpr = grad_ptr is not None or probabilities_ptr is not None or log_probabilities_ptr is not None
    class_count = class_groups * GROUP  # tells the compiler at what multiples rows start
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    live = row < row_count
    start = row * class_count
    block = tl.arange(0, BLOCK)[None, :]
    last = (tl.cdiv(class_count, BLOCK) - 1) * BLOCK

    # The blocks before the last, dealt out to lanes.
    largest = tl.full([ROWS, LANES], float("-inf"), dtype)
    s = tl.zeros([ROWS, LANES], dtype)
    moment = tl.zeros([ROWS, LANES], dtype)
    dot = tl.zeros([ROWS, LANES], dtype)
    t_sum = tl.zeros([ROWS, LANES], dtype)
    key = order(largest) - 1
    prediction = tl.zeros([ROWS, LANES], tl.int32)
    if not ONE_BLOCK:
        for first in range(0, last, BLOCK):
            columns = first + block
            offsets = start + columns
            mask = tl.broadcast_to(live, [ROWS, BLOCK])
            x = load_logits(x_ptr, offsets, mask, dtype, ELEMENTS)
            m = tl.maximum(largest, tl.max(in_lanes(x, LANES), 1))
            if entropy_ptr is not None:
                moment = add_moments(moment, s, largest, x, m, LANES)
            s = add_exponentials(s, largest, x, m, LANES)
            if SPREAD:
                t = load_spread(
                    target_ptr, class_weight_ptr, smooth_ptr, keep_ptr,
                    offsets, columns, mask, class_count, dtype, SMOOTH_STRIDE,
                )  # fmt: skip
                dot = add_products(dot, t_sum, largest, x, t, m, LANES)
                t_sum += tl.sum(in_lanes(t, LANES), 1)
            if predictions_ptr is not None:
                key, prediction = add_keys(key, prediction, order(x), columns, LANES)
            largest = m

    # The last block, and the lanes together: from here on (ROWS, 1).
    columns = last + block
    offsets = start + columns
    mask = live & (columns < class_count)
    x = load_logits(x_ptr, offsets, mask, dtype, False)
    m = tl.max(x, 1, keep_dims=True)
    if not ONE_BLOCK:
        m = tl.maximum(m, tl.max(largest, 1, keep_dims=True))
    infinite = tl.abs(m) == float("inf")
    m = finite(m)
    exponentials = tl.exp(x - m)
    t = load_spread(
        target_ptr, class_weight_ptr, smooth_ptr, keep_ptr,
        offsets, columns, mask, class_count, dtype, SMOOTH_STRIDE,
    )  # fmt: skip
    row_s = tl.sum(exponentials, 1, keep_dims=True)
    row_dot = tl.sum(tl.where(mask, t * (x - m), 0.0), 1, keep_dims=True)  # in padding, 0 * -inf
    row_t_sum = tl.sum(t, 1, keep_dims=True)
    if not ONE_BLOCK:
        row_s += tl.sum(s * tl.exp(largest - m), 1, keep_dims=True)
        row_dot += tl.sum(dot + t_sum * (finite(largest) - m), 1, keep_dims=True)
        row_t_sum += tl.sum(t_sum, 1, keep_dims=True)
    lse = m + tl.log(row_s)
    if lse_ptr is not None:
        tl.store(lse_ptr + row, lse, mask=live)
    row_s = tl.where(infinite, float("nan"), row_s)  # as in PyTorch, where inf - inf makes NaN of the whole row
    log_s = tl.log(row_s)
    if log_totals_ptr is not None:
        tl.store(log_totals_ptr + row, log_s, mask=live)
    if entropy_ptr is not None:
        row_moment = tl.sum(exponentials * bounded(x - m), 1, keep_dims=True)
        if not ONE_BLOCK:
            row_moment += tl.sum(moved_moment(moment, s, largest, m), 1, keep_dims=True)
        tl.store(entropy_ptr + row, log_s - row_moment / row_s, mask=live)

    # The row's target and factors.
    y = tl.full([ROWS, 1], 0, tl.int64)
    if classes_ptr is not None:
        y = tl.load(classes_ptr + row, mask=live, other=0)
    ignored = row < 0
    if ignored_ptr is not None:
        ignored = tl.load(ignored_ptr + row, mask=live, other=0) != 0
    factor = tl.full([ROWS, 1], 1.0, dtype)
    if weight_ptr is not None:
        factor = tl.load(weight_ptr + row, mask=live, other=0.0)
    hard = tl.full([ROWS, 1], 1.0, dtype)
    if target_weight_ptr is not None:
        hard = tl.load(target_weight_ptr + row, mask=live, other=0.0)
    own_weight = hard
    if keep_ptr is not None:
        hard = hard * tl.load(keep_ptr)

    loss = tl.zeros([ROWS, 1], dtype)
    whole = tl.zeros([ROWS, 1], dtype)  # sum of t
    if SPREAD:
        loss = log_s * row_t_sum - row_dot
        whole = row_t_sum
    if INDEX:
        # Classes were checked on the host. If one is out of range nevertheless, nothing is read and the loss is NaN.
        in_range = live & (y >= 0) & (y < class_count)
        x_y = tl.load(x_ptr + start + y, mask=in_range, other=float("nan")).to(dtype)
        loss += hard * (m - x_y + log_s)
        whole += hard
        if target_log_probabilities_ptr is not None:
            tl.store(target_log_probabilities_ptr + row, tl.where(ignored, 0.0, x_y - m - log_s), mask=live)
    if z_loss_ptr is not None:
        z_loss = tl.load(z_loss_ptr) * own_weight * lse
        loss += z_loss * lse
        whole += 2 * z_loss
        tl.store(z_losses_ptr + row, tl.where(ignored, 0.0, z_loss * lse * factor), mask=live)
    tl.store(losses_ptr + row, tl.where(ignored, 0.0, loss * factor), mask=live)

    if predictions_ptr is not None:
        best, best_column = first_largest(order(x), columns)  # padding comes last, so it wins no tie
        if not ONE_BLOCK:
            before, before_column = first_largest(key, prediction)
            best_column = tl.where(best > before, best_column, before_column)
        best_column = best_column[:, None].to(tl.int64)
        tl.store(predictions_ptr + row, best_column, mask=live)
        tl.store(correct_ptr + row, (best_column == y) & (ignored == 0), mask=live)

    if ELEMENTS:
        share = 1 / row_s
        if grad_ptr is not None:
            factor *= tl.load(scale_ptr + row * SCALE_STRIDE, mask=live, other=0.0)
        slope, at_class = whole * factor, hard * factor
        p = exponentials * share
        if grad_ptr is not None:
            store_grad(grad_ptr, p, t, slope, factor, at_class, y, ignored, offsets, columns, mask, SPREAD, INDEX)
        if probabilities_ptr is not None:
            tl.store(probabilities_ptr + offsets, p, mask=mask, eviction_policy="evict_first")
        if log_probabilities_ptr is not None:
            tl.store(log_probabilities_ptr + offsets, x - m - log_s, mask=mask, eviction_policy="evict_first")
        if not ONE_BLOCK:
            for read in range(0, last, BLOCK):
                columns = last - BLOCK - read + block
                offsets = start + columns
                mask = tl.broadcast_to(live, [ROWS, BLOCK])
                x = load_logits(x_ptr, offsets, mask, dtype, False)
                p = tl.exp(x - m) * share
                if grad_ptr is not None:
                    t = load_spread(
                        target_ptr, class_weight_ptr, smooth_ptr, keep_ptr,
                        offsets, columns, mask, class_count, dtype, SMOOTH_STRIDE,
                    )  # fmt: skip
                    store_grad(
                        grad_ptr, p, t, slope, factor, at_class, y, ignored, offsets, columns, mask, SPREAD, INDEX
                    )
                if probabilities_ptr is not None:
                    tl.store(probabilities_ptr + offsets, p, mask=mask, eviction_policy="evict_first")
                if log_probabilities_ptr is not None:
                    tl.store(log_probabilities_ptr + offsets, x - m - log_s, mask=mask, eviction_policy="evict_first")
