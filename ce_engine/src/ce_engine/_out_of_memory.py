"""Tells a lack of memory from other errors: PyTorch, CUDA and Triton each have their own words for it."""

import torch

from ce_engine._errors import OutOfMemoryError
from ce_engine._kernel_rows import Kind

WORDS = ("out of memory", "can't allocate memory")  # of CUDA for pinned memory and of Triton; of a CPU's allocator


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory lacked, on a device or on the host. What works with less memory still works."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def explained(error: BaseException, kind: Kind, row_count: int) -> BaseException:
    """The engine's error for a lack of memory on the host."""
    if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
        return lack_of_memory(kind, row_count)
    return error


def lack_of_memory(kind: Kind, row_count: int) -> OutOfMemoryError:
    dtype = str(kind.dtype).removeprefix("torch.")
    return OutOfMemoryError(f"too little memory is free for {row_count} rows of {kind.class_count} {dtype}")
