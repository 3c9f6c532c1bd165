"""Bits of tensors, for results that must be the same to the bit."""

import math
import struct
from typing import Any

import torch


def bits(x: Any) -> Any:
    """The bits of a tensor. All NaNs have the same bits here, since their sign and payload may vary."""
    if isinstance(x, float):
        return struct.pack("d", abs(x) if math.isnan(x) else x)
    if not isinstance(x, torch.Tensor):
        return x
    x = torch.where(x.isnan(), torch.full_like(x, math.nan), x) if x.is_floating_point() else x
    return x.dtype, x.shape, x.contiguous().flatten().view(torch.uint8).tolist()
