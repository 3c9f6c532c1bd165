"""Rows: every loss here sees its input as rows of classes, taken in blocks that stay in the cache."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Size, Tensor

# For each PyTorch thread, in the dtype that is computed in. Larger than most L2 caches, but well within a share of L3:
# smaller blocks cost more in Python than they save, larger blocks cost more in memory (docs/performance.md).
BLOCK_BYTES = 2 * 2**20


class Block(NamedTuple):
    """Some consecutive rows: all positions of some samples, or some positions of one sample."""

    samples: slice
    positions: slice
    rows: slice


def class_count(input: Tensor) -> int:
    """C: the length of dimension 1, or of dimension 0 when there is no batch."""
    return input.shape[1 if input.dim() > 1 else 0]


def target_shape(input: Tensor) -> Size:
    """The input's shape without C: one entry a row."""
    return input.shape[:1] + input.shape[2:] if input.dim() > 1 else Size()


def class_rows(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
) -> Tensor:  # (samples, positions, C)
    """Views the input with its classes last; rows are numbered in the order of the target.

    A batch of plain rows is one sample of N positions, so that a block of it is contiguous.
    """
    if input.dim() > 2:
        return input.flatten(2).transpose(1, 2)
    return input.unsqueeze(0) if input.dim() == 2 else input[None, None]


def last_rows(
    input: Tensor,  # (C) or (..., C)
) -> Tensor:  # (1, rows, C)
    """Views the input with the rows along its last dimension as one sample."""
    return input.reshape(1, input.shape[:-1].numel(), input.shape[-1])  # there may be no elements


def element_rows(
    input: Tensor,  # any shape
) -> Tensor:  # (1, elements, 1)
    """Views the input with each of its elements as a row."""
    return input.reshape(1, -1, 1)


def block_rows(class_count: int, itemsize: int) -> int:
    return max(1, BLOCK_BYTES * torch.get_num_threads() // (class_count * itemsize))


def blocks(rows: Tensor, itemsize: int) -> Iterator[Block]:
    """Cuts rows, (samples, positions, C), into blocks of about BLOCK_BYTES for each PyTorch thread."""
    if rows.numel():
        yield from blocks_of(block_rows(rows.shape[2], itemsize), rows)


def blocks_of(count: int, rows: Tensor) -> Iterator[Block]:
    """Cuts rows, (samples, positions, C), into blocks of at most so many rows.

    No result depends on the cuts, since no result depends on a row's neighbours.
    """
    samples, positions, _ = rows.shape
    if rows.numel() == 0:
        return
    sample_step, position_step = max(1, count // positions), min(count, positions)
    for sample in range(0, samples, sample_step):
        sample_end = min(sample + sample_step, samples)
        for position in range(0, positions, position_step):
            position_end = min(position + position_step, positions)
            first = sample * positions + position
            last = first + (sample_end - sample) * (position_end - position)
            yield Block(slice(sample, sample_end), slice(position, position_end), slice(first, last))


def largest_classes(
    rows: Tensor,  # (samples, positions, C)
    dtype: torch.dtype,  # in which they are compared
) -> Tensor:  # (samples * positions) int64, on the host
    """The class with the largest number of each row, the first one in a tie."""
    found = torch.zeros(rows.shape[0] * rows.shape[1], dtype=torch.int64, device="cpu")
    for block in blocks(rows, dtype.itemsize):
        found[block.rows] = rows[block.samples, block.positions].to(dtype).argmax(2).view(-1)
    return found


def positive_rows(
    rows: Tensor,  # (1, elements, 1)
    dtype: torch.dtype,  # in which they are compared
) -> Tensor:  # (elements) bool, on the host
    """Which elements are above one half."""
    found = torch.zeros(rows.shape[1], dtype=torch.bool, device="cpu")
    for block in blocks(rows, dtype.itemsize):
        found[block.rows] = rows[0, block.positions, 0].to(dtype) > 0.5
    return found


def ranks(
    x: Tensor,  # (rows, C)
    index: Tensor,  # (rows), classes
) -> Tensor:  # (rows) int64, from 1 on
    """Places in descending order: of equal numbers the first class comes first, and NaN is larger than all others."""
    at_index = x.gather(1, index[:, None])
    is_earlier = torch.arange(x.shape[1], device=x.device) < index[:, None]
    of_number = ~(x <= at_index) | (is_earlier & (x == at_index))
    return 1 + torch.where(at_index.isnan(), is_earlier & x.isnan(), of_number).sum(1)


def top_classes(
    x: Tensor,  # (rows, C)
    top_k: int,
) -> Tensor:  # (rows, top_k) int64
    """The first classes in that order. ``torch.topk`` leaves the order of equal numbers open, unlike a stable sort."""
    return torch.sort(x, dim=1, descending=True, stable=True).indices[:, :top_k]
