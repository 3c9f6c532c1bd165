"""The two products with a head's weight, of padded operands: see `padding`."""

import torch
from torch import Tensor

from ce_engine._heads.bfloat16 import ALL_PARTS
from ce_engine._heads.head import Head
from ce_engine._heads.padding import padded_columns
from ce_engine._memory import CPU, empty

STATE_PARTS = {torch.bfloat16: 1, torch.float16: 2}  # bfloat16 numbers with all bits of one of the dtype
GRAD_PARTS = {torch.float16: 2}  # for gradients that are rounded to the dtype; bfloat16 needs less


def product(
    x: Tensor,  # (r, H')
    head: Head,
    dtype: torch.dtype,  # whose numbers x are
) -> Tensor:  # (r, V'), contiguous
    """Logits without bias, in memory that is used again when they are gone."""
    out = empty((x.shape[0], padded_columns(head.class_count)), head.compute_dtype, CPU)
    if head.packed is not None:
        return head.packed.logits(x, out, STATE_PARTS.get(dtype, ALL_PARTS))
    return torch.mm(x, head.weight.t(), out=out)


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
    return torch.mm(grad, head.weight, out=out)
