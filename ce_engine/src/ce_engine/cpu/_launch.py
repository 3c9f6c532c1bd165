"""Launches of compiled kernels: the arguments of a C function, whose pieces one or several threads evaluate."""

import ctypes
import struct
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ADDRESSES = struct.Struct("@ 23P")  # as in native/launch.h
ALL = 2**62  # pieces
LACK_OF_MEMORY, WRONG_TARGET, _, SOME_LEFT = range(4)  # as in native/pieces.h

Function = Callable[[bytes, int, int, ctypes.c_int64 | None, int], int]


class Launch:
    """One launch. Several threads may call `take` at the same time, if it is shared.

    Args:
        function: Of the library.
        dtype: The number of the input's dtype.
        arguments: The function's first argument, which points to memory of `tensors`.
        tensors: Are kept as long as the launch.
    """

    def __init__(self, function: Function, dtype: int, arguments: bytes, tensors: object) -> None:
        self._function, self._dtype, self._arguments = function, dtype, arguments
        self._tensors = tensors
        self._taken: ctypes.c_int64 | None = None  # pieces

    def share(self) -> None:
        """From now on, several threads may call `take`."""
        self._taken = ctypes.c_int64()

    def take(self, pieces: int = ALL) -> bool:
        """Evaluates so many pieces that no other thread has taken, or all that are left. Returns whether some are left.

        Raises:
            IndexError: A target is out of range.
            MemoryError: Too little memory is free for intermediate numbers.
        """
        return call(self._function, self._arguments, self._dtype, self._taken, pieces)


def call(
    function: Function, arguments: bytes, dtype: int, taken: ctypes.c_int64 | None = None, pieces: int = ALL
) -> bool:
    """Evaluates pieces: see `Launch.take`."""
    outcome = function(arguments, dtype, torch.get_num_threads(), taken, pieces)
    if outcome == LACK_OF_MEMORY:
        raise MemoryError("too little memory is free for intermediate numbers")
    if outcome == WRONG_TARGET:
        raise IndexError("a target is out of range now; slabs must not change until their results are there")
    return outcome == SOME_LEFT


def run_alone(launch: Launch) -> None:
    """Evaluates all of a launch in this thread and its PyTorch threads."""
    launch.take()


def packed_addresses(tensors: Sequence[Tensor | None]) -> bytes:
    """Of the input, the target if it is of its shape, the rows and the results: as in native/launch.h."""
    return ADDRESSES.pack(*[0 if x is None else x.data_ptr() for x in tensors])
