"""Binary cross-entropy of elements, from probabilities or logits, by the formulas of ``ce_engine.cpu._elementwise``."""

import triton
import triton.language as tl

from ce_engine.gpu.kernels.blocks import narrowed


@triton.jit
def log1p(x):
    """Exact to a few roundings, where log(1 + x) would lose a small x: here the rounding of 1 + x cancels."""
    u = 1.0 + x
    return tl.where(u == 1.0, x, tl.log(u) * (x / (u - 1.0)))


@triton.jit
def at_least(x, least):  # as torch.clamp, which keeps NaN
    return tl.where(x < least, least, x)


@triton.jit
def binary_kernel(
    x_ptr,  # (R)
    target_ptr,  # (R)
    weight_ptr,  # (R)
    pos_weight_ptr,  # (R)
    scale_ptr,  # (R) or (1)
    losses_ptr,  # (R), as the following
    entropy_ptr,
    predictions_ptr,
    correct_ptr,
    grad_ptr,
    probabilities_ptr,
    log_probabilities_ptr,
    row_count,
    LOGITS: tl.constexpr,
    SCALE_STRIDE: tl.constexpr,  # 0 if all rows share one factor
    BLOCK: tl.constexpr,
    LEAST_LOG: tl.constexpr,
    LEAST_VARIANCE: tl.constexpr,
):
    dtype: tl.constexpr = losses_ptr.dtype.element_ty
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = row < row_count
    x = tl.load(x_ptr + row, mask=mask, other=0.0).to(dtype)
    t = tl.load(target_ptr + row, mask=mask, other=0.0).to(dtype)
    positive = t
    whole = tl.full([BLOCK], 1.0, dtype)  # 1 - t + positive
    if pos_weight_ptr is not None:
        pos_weight = tl.load(pos_weight_ptr + row, mask=mask, other=0.0)
        positive = pos_weight * t
        whole += (pos_weight - 1.0) * t

    if LOGITS:
        odds = tl.exp(-tl.abs(x))
        below = tl.where(x > 0, 0.0, x)  # keeps NaN
        p = tl.exp(below) / (1.0 + odds)
        log_p = below - log1p(odds)
        loss = (1.0 - t) * x - whole * log_p
        slope = p * whole - positive
        boundary = 0.0
    else:
        p = x
        log_p = at_least(tl.log(x), LEAST_LOG)
        loss = (t - 1.0) * at_least(log1p(-x), LEAST_LOG) - t * log_p
        slope = (x - t) / at_least((1.0 - x) * x, LEAST_VARIANCE)
        boundary = 0.5

    if entropy_ptr is not None:
        if LOGITS:
            size = tl.abs(x)
            entropy = log1p(odds) + tl.where(size == float("inf"), 0.0, size) * odds / (1.0 + odds)
        else:
            entropy = (x - 1.0) * at_least(log1p(-x), LEAST_LOG) - x * log_p
        tl.store(entropy_ptr + row, entropy, mask=mask)
    if weight_ptr is not None:
        weight = tl.load(weight_ptr + row, mask=mask, other=0.0)
        loss *= weight
        slope *= weight
    tl.store(losses_ptr + row, loss, mask=mask)
    if grad_ptr is not None:
        slope *= tl.load(scale_ptr + row * SCALE_STRIDE, mask=mask, other=0.0)
        tl.store(grad_ptr + row, narrowed(slope, grad_ptr.dtype.element_ty), mask=mask)
    if probabilities_ptr is not None:
        tl.store(probabilities_ptr + row, p, mask=mask)
    if log_probabilities_ptr is not None:
        tl.store(log_probabilities_ptr + row, log_p, mask=mask)
    if predictions_ptr is not None:
        predicted = x > boundary
        tl.store(predictions_ptr + row, predicted.to(tl.int64), mask=mask)
        tl.store(correct_ptr + row, predicted == (t > 0.5), mask=mask)
