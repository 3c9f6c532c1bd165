"""How much of a tensor one program of a kernel takes.

Chosen from the class count and the dtype alone, never from the row count: how a row is cut decides in what order its
sums are added, and a row's bits must not depend on its neighbours. The sizes follow from registers and caches as the
compiler reports them for Hopper; none of them is measured yet.
"""

from dataclasses import dataclass
from math import gcd

import torch

WARP = 32  # threads
WIDEST_LOAD_BYTES = 16  # of a thread
NARROW = 1024  # classes; up to here a program takes several rows
NARROW_NUMBERS, NARROW_ROWS = 4096, 128  # of such a program at most, padding included; 128 rows are one for each thread
KEPT_NUMBERS = 32  # float32 numbers of a row that a thread keeps in registers, not counting those it computes with
REREAD_NUMBERS = 16  # the same for rows that are read twice, whose code needs more registers
KEPT_WARPS = 8
REREAD_WARPS = 16  # two programs of this size share a multiprocessor, so that one loads while the other stores
LONG_ROW_BYTES = 256 * 1024  # two such rows on each of an H200's 132 multiprocessors are more than its L2 cache


@dataclass(frozen=True)
class Tile:
    """A program's share: rows, columns at a time, lanes that these are dealt out to, and warps of 32 threads."""

    rows: int
    block: int
    lanes: int
    warps: int


def row_tile(class_count: int, dtype: torch.dtype, *, elements: bool) -> Tile:
    """For kernels that read whole rows; `elements` says whether they write tensors of the input's shape as well."""
    width = 2 if dtype is torch.float64 else 1
    if class_count <= NARROW:
        block = power_of_two(class_count)
        return Tile(min(NARROW_NUMBERS // width // block, NARROW_ROWS), block, lanes=block, warps=4)
    warps, numbers = KEPT_WARPS, WARP * KEPT_NUMBERS // width  # of a warp
    if elements and class_count > warps * numbers:
        # The fewer rows are in work at a time, the more of them are still in the L2 cache when they are read again.
        warps = REREAD_WARPS if class_count * dtype.itemsize <= LONG_ROW_BYTES else 2 * REREAD_WARPS
        numbers = WARP * REREAD_NUMBERS // width
    block = min(power_of_two(class_count), warps * numbers)
    warps = block // numbers
    # A thread has as many lanes as columns fit into its widest load, and adds them up without asking other threads.
    return Tile(1, block, warps * WARP * WIDEST_LOAD_BYTES // dtype.itemsize, warps)


def element_tile(class_count: int) -> Tile:
    """For kernels that compute each column of a row by itself."""
    block = min(power_of_two(class_count), NARROW)
    return Tile(NARROW // block, block, lanes=block, warps=4)


def row_alignment(class_count: int) -> int:
    """The power of two, up to 16, at multiples of which all rows start."""
    return gcd(class_count, 16)


def power_of_two(count: int) -> int:
    """The smallest power of two that is not less than the count."""
    return 1 << (count - 1).bit_length()
