"""Reads and writes a block of rows and columns of tensors of the input's shape."""

import triton
import triton.language as tl


@triton.jit
def load_logits(
    x_ptr,
    offsets,
    mask,
    dtype: tl.constexpr,
    AGAIN: tl.constexpr,  # whether it is going to be read a second time, best from the L2 cache
):
    if AGAIN:
        x = tl.load(x_ptr + offsets, mask=mask, other=float("-inf"), eviction_policy="evict_last")
    else:
        x = tl.load(x_ptr + offsets, mask=mask, other=float("-inf"), eviction_policy="evict_first")
    return x.to(dtype)


@triton.jit
def load_spread(
    target_ptr,  # (R, C) or None
    class_weight_ptr,  # (C) or None
    smooth_ptr,  # (C) or (1); None without keep_ptr
    keep_ptr,  # (1) or None
    offsets,
    columns,
    mask,
    class_count,
    dtype: tl.constexpr,
    SMOOTH_STRIDE: tl.constexpr,
):
    """t, without the part of a class index; 0 beyond the row."""
    in_row = columns < class_count
    t = tl.zeros(mask.shape, dtype)
    if target_ptr is not None:
        t = tl.load(target_ptr + offsets, mask=mask, other=0.0).to(dtype)
        if keep_ptr is not None:
            t = t * tl.load(keep_ptr)
        if class_weight_ptr is not None:
            t = t * tl.load(class_weight_ptr + columns, mask=in_row, other=0.0)
    if keep_ptr is not None:
        t = t + tl.load(smooth_ptr + columns * SMOOTH_STRIDE, mask=in_row, other=0.0)
    return t


@triton.jit
def narrowed(x, dtype: tl.constexpr):
    """Rounds as PyTorch does, through float32. The interpreter has no other conversion from float64 to bfloat16."""
    between: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    return x.to(between).to(dtype)


@triton.jit
def store_grad(
    grad_ptr,
    p,
    t,
    slope,  # (ROWS, 1), sum of t times factor
    factor,  # (ROWS, 1)
    at_class,  # (ROWS, 1), subtracted at the class y
    y,  # (ROWS, 1)
    ignored,  # (ROWS, 1)
    offsets,
    columns,
    mask,
    SPREAD: tl.constexpr,
    INDEX: tl.constexpr,
):
    grad = p * slope
    if SPREAD:
        grad -= t * factor
    if INDEX:
        grad -= tl.where(columns == y, at_class, 0.0)
    grad = tl.where(ignored, 0.0, grad)
    grad = narrowed(grad, grad_ptr.dtype.element_ty)
    tl.store(grad_ptr + offsets, grad, mask=mask, eviction_policy="evict_first")
