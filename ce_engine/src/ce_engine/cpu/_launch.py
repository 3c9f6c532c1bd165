"""Launches of compiled kernels: the arguments of a C function, whose pieces one or several threads evaluate."""

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._memory import scratch

ADDRESSES = struct.Struct("@ 16P")  # as in native/launch.h
SHARE = struct.Struct("@PqiPq")  # as in native/pieces.h
ALL = 2**62  # pieces
WRONG_TARGET, _, SOME_LEFT = range(3)  # as in native/pieces.h


class Kept(NamedTuple):
    """Scratch memory for so many numbers."""

    numbers: int
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return self.numbers * self.dtype.itemsize


class Launch:
    """One launch. Several threads may call `take` at the same time, if it is shared.

    Args:
        function: Of the library.
        dtype: The number of the input's dtype.
        arguments: The function's first argument, which points to memory of `tensors`.
        kept: The scratch memory that each PyTorch thread needs; None if it needs none.
        tensors: Are kept as long as the launch.
    """

    def __init__(
        self,
        function: Callable[[bytes, bytes, int], int],
        dtype: int,
        arguments: bytes,
        kept: Kept | None,
        tensors: object,
    ) -> None:
        self._function, self._dtype, self._arguments = function, dtype, arguments
        self._kept = kept
        self._tensors = tensors
        self._taken: ctypes.c_int64 | None = None

    def share(self) -> None:
        """From now on, several threads may call `take`."""
        self._taken = ctypes.c_int64()

    def take(self, pieces: int = ALL) -> bool:
        """Evaluates so many pieces that no other thread has taken, or all that are left. Returns whether some are left.

        Raises:
            IndexError: A target is out of range.
        """
        threads, kept, kept_bytes = torch.get_num_threads(), 0, 0
        if self._kept is not None:
            kept_bytes = self._kept.nbytes
            kept = scratch.address(threads * self._kept.numbers, self._kept.dtype, "kept")
        taken = 0 if self._taken is None else ctypes.addressof(self._taken)
        share = SHARE.pack(taken, pieces, threads, kept, kept_bytes)
        outcome = self._function(self._arguments, share, self._dtype)
        if outcome == WRONG_TARGET:
            raise IndexError("a target is out of range now; slabs must not change until their results are there")
        return outcome == SOME_LEFT


def run_alone(launch: Launch) -> None:
    """Evaluates all of a launch in this thread and its PyTorch threads."""
    launch.take()


def packed_addresses(tensors: Sequence[Tensor | None]) -> bytes:
    """Of the input, the target if it is of its shape, the rows and the results: as in native/launch.h."""
    return ADDRESSES.pack(*[0 if x is None else x.data_ptr() for x in tensors])
