"""Pads tensors, so that a product's row has the same bits whatever rows are beside it, and on any number of threads.

Libraries for products of matrices take other paths for a few rows or columns, and at the ends of matrices of odd sizes.
"""

import torch
from torch import Tensor

COLUMNS = 64  # hidden states and classes are padded to a multiple: with odd ones float64 varies, and so may float32
ROWS = 16  # of a tile: one to three rows take other paths


def padded_columns(count: int) -> int:
    return -(-count // COLUMNS) * COLUMNS


def padded_rows(count: int) -> int:
    return -(-count // ROWS) * ROWS


def padded(
    x: Tensor,  # (H), (V) or (V, H)
    dtype: torch.dtype | None = None,
) -> Tensor:
    """A copy on the CPU with zeros up to multiples of `COLUMNS`, in the dtype that is computed in if None is given."""
    shape = [padded_columns(size) for size in x.shape]
    dtype = dtype or torch.promote_types(x.dtype, torch.float32)
    with torch.inference_mode(False), torch.no_grad():
        memory = torch.zeros(shape, dtype=dtype, device="cpu")
        memory[tuple(slice(size) for size in x.shape)].copy_(x.detach())
    return memory
