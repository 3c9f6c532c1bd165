"""Keeps memory for results and intermediate values, and uses it again: on a CPU, fresh memory costs more than losses.

The kernel gives and zeroes fresh memory page by page, which takes several times longer than writing to it (512 x 32,768
float32: 28 ms for the loss and its gradient into fresh memory, 9 ms into memory that was used before).
"""

import ctypes
import math
import threading
import weakref
from collections import deque

import torch
from torch import Size, Tensor

from ce_engine._plans.validation import check_least
from ce_engine._rows import BLOCK_BYTES

LEAST_BYTES = 2**20  # smaller tensors are left to torch: malloc keeps such memory by itself
KEPT_BYTES = 256 * 2**20
MOST_SCRATCH_BLOCKS = 2  # of the usual size, which are kept under each name: float64 where float32 is usual

CPU = torch.device("cpu")  # the device of all tensors there; its name takes six times as long to compare


class Recycler:
    """Gives out memory for tensors, and takes it back when the last tensor that shares it is gone."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._idle: deque[Tensor] = deque()
        self._idle_bytes = 0

    @property
    def idle_bytes(self) -> int:
        """What is kept now."""
        return self._idle_bytes

    def keep(self, kept_bytes: int) -> None:
        """Keeps at most so many bytes from now on, and frees what is kept beyond them."""
        with self._lock:
            self._kept_bytes = kept_bytes
            self._free_oldest()

    def empty(self, shape: Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        count = Size(shape).numel()
        memory = self._take(rounded(count * dtype.itemsize))
        # The storage of a tensor made from a buffer holds the buffer as long as any view of it lives.
        lease = (ctypes.c_char * memory.numel()).from_address(memory.data_ptr())
        weakref.finalize(lease, self._give_back, memory).atexit = False
        return torch.frombuffer(lease, dtype=dtype, count=count).view(shape)

    def _take(self, nbytes: int) -> Tensor:
        with self._lock:
            for i, memory in enumerate(self._idle):
                if memory.numel() == nbytes:
                    del self._idle[i]
                    self._idle_bytes -= nbytes
                    return memory
        return _fresh(nbytes, torch.uint8)

    def _give_back(self, memory: Tensor) -> None:
        # Never waits for the lock: a garbage collection during `_take` may have led here. Then the memory is freed.
        if memory.numel() > self._kept_bytes or not self._lock.acquire(blocking=False):
            return
        try:
            self._idle.append(memory)
            self._idle_bytes += memory.numel()
            self._free_oldest()
        finally:
            self._lock.release()

    def _free_oldest(self) -> None:
        while self._idle_bytes > self._kept_bytes:
            self._idle_bytes -= self._idle.popleft().numel()


def _fresh(count: int, dtype: torch.dtype) -> Tensor:
    """Memory on the CPU, whatever the default device is, that can be written to in and out of inference mode."""
    with torch.inference_mode(False):
        return torch.empty(count, dtype=dtype, device="cpu")


def rounded(nbytes: int) -> int:
    """A size up to an eighth larger, so that tensors of about the same size can reuse each other's memory."""
    step: int = 2 ** max(0, nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


_recycler = Recycler(KEPT_BYTES)


def keep_memory(nbytes: int) -> None:
    """Keeps at most so many bytes of freed results for later results, in this process; 256 MiB if never called.

    It may be called at any time: with 0, as when memory is scarce, what is kept is freed at once.

    Raises:
        InvalidArgumentError: The number is negative.
    """
    check_least(0, nbytes=nbytes)
    _recycler.keep(nbytes)


def kept_memory() -> int:
    """How many bytes of freed results are kept now."""
    return _recycler.idle_bytes


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As ``torch.empty``, from recycled memory for large tensors on a CPU."""
    if device == CPU and math.prod(shape) * dtype.itemsize >= LEAST_BYTES:
        return _recycler.empty(shape, dtype)
    if not shape:
        return torch.empty((), dtype=dtype, device=device)
    return torch.empty(*shape, dtype=dtype, device=device)  # a `Size` takes twice as long


class Scratch(threading.local):
    """Memory for the work on one block. Each thread has its own, and uses it again for each block.

    A block of one immense row has memory that is not kept.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[str, torch.dtype], Tensor] = {}

    def like(self, x: Tensor, dtype: torch.dtype, name: str = "") -> Tensor:
        """Contiguous memory of x's shape. The same name gives the same memory."""
        return self.empty(x.shape, dtype, name)

    def empty(self, shape: Size | tuple[int, ...], dtype: torch.dtype, name: str) -> Tensor:
        count = Size(shape).numel()
        if count * dtype.itemsize > MOST_SCRATCH_BLOCKS * BLOCK_BYTES * torch.get_num_threads():
            return _fresh(count, dtype).view(shape)
        return self._at_least(count, dtype, name)[:count].view(shape)

    def _at_least(self, count: int, dtype: torch.dtype, name: str) -> Tensor:
        memory = self._memory.get((name, dtype))
        if memory is None or memory.numel() < count:
            memory = self._memory[name, dtype] = _fresh(count, dtype)
        return memory


scratch = Scratch()
