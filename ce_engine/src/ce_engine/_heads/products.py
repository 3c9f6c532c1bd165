"""The two products with a head's weight, of padded operands: see `padding`."""

import torch
from torch import Tensor

from ce_engine._heads.head import Head
from ce_engine._memory import CPU, empty


def product(
    x: Tensor,  # (r, H')
    head: Head,
) -> Tensor:  # (r, V'), contiguous
    """Logits without bias, in memory that is used again when they are gone."""
    out = empty((x.shape[0], head.weight.shape[0]), x.dtype, CPU)
    return torch.mm(x, head.weight.t(), out=out)


def product_back(
    grad: Tensor,  # (r, V'), of the logits
    head: Head,
) -> Tensor:  # (r, H'), contiguous
    """The gradient of what `product` took."""
    out = empty((grad.shape[0], head.weight.shape[1]), grad.dtype, CPU)
    return torch.mm(grad, head.weight, out=out)
