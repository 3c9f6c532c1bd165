"""The two products with a head's weight, of padded operands: see `padding`.

Compiled code computes a row in the same way whatever rows are beside it; libraries that PyTorch calls may not.
"""

import struct

import torch
from torch import Tensor

from ce_engine._heads.bfloat16 import ALL_PARTS
from ce_engine._heads.head import Head
from ce_engine._heads.padding import padded_columns, padded_rows
from ce_engine._libraries import library
from ce_engine._memory import CPU, empty

STATE_PARTS = {torch.bfloat16: 1, torch.float16: 2}  # bfloat16 numbers with all bits of one of the dtype
NORMED_PARTS = {torch.bfloat16: 2, torch.float16: 2}  # beside whose rounding elsewhere 2^-16 is little
GRAD_PARTS = {torch.float16: 2}  # for gradients that are rounded to the dtype; bfloat16 needs less

PRODUCT = struct.Struct("@ 3P 3q ?")  # as in native/products/product.h
LONG_ROW = 2**15  # numbers, from which on PyTorch adds up a single row on many threads, in another order


def product_rows(rows: int, head: Head) -> int:
    """Rows of a tile that the products compute."""
    if head.packed is None and not _is_compiled(head):
        return padded_rows(rows)
    return max(rows, 2) if head.norm is not None and head.width >= LONG_ROW else rows


def product(
    x: Tensor,  # (r, H')
    head: Head,
    dtype: torch.dtype,  # of the hidden states
) -> Tensor:  # (r, V'), contiguous
    """Logits without bias, in memory that is used again when they are gone."""
    out = empty((x.shape[0], padded_columns(head.class_count)), head.compute_dtype, CPU)
    if head.packed is not None:
        parts = STATE_PARTS if head.norm is None else NORMED_PARTS
        return head.packed.logits(x, out, parts.get(dtype, ALL_PARTS))
    return _multiplied(x, head, out, is_transposed=True)


def product_back(
    grad: Tensor,  # (r, V'), of the logits
    head: Head,
    dtype: torch.dtype,  # of the gradient in the end
    out: Tensor | None = None,  # (r, H'), contiguous, written if given
) -> Tensor:  # (r, H'), contiguous
    """The gradient of what `product` took."""
    if out is None:
        out = empty((grad.shape[0], padded_columns(head.width)), grad.dtype, CPU)
    if head.packed is not None:
        if dtype == torch.bfloat16:
            return head.packed.back_rounded(grad, out)
        return head.packed.back(grad, out, GRAD_PARTS.get(dtype, ALL_PARTS))
    return _multiplied(grad, head, out, is_transposed=False)


def _is_compiled(head: Head) -> bool:
    compiled = library()
    return compiled is not None and head.compute_dtype in compiled.multiply


def _multiplied(
    x: Tensor,  # (r, k), contiguous
    head: Head,
    out: Tensor,  # (r, n), contiguous
    *,
    is_transposed: bool,  # whether the weight is (n, k)
) -> Tensor:
    weight, compiled = head.weight, library()
    if compiled is None or x.dtype not in compiled.multiply:
        return torch.mm(x, weight.t() if is_transposed else weight, out=out)
    addresses = x.data_ptr(), weight.data_ptr(), out.data_ptr()
    compiled.multiply[x.dtype](PRODUCT.pack(*addresses, *x.shape, out.shape[1], is_transposed), torch.get_num_threads())
    return out
