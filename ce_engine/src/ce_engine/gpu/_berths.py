"""The memory of a pipeline, used again and again: allocating waits for a device, above all for pinned memory."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ce_engine._memory import rounded


class Memory:
    """Bytes that are used again, unless they are more than `kept_bytes`."""

    def __init__(self, allocate: Callable[[int], Tensor], kept_bytes: int) -> None:
        self._allocate, self._kept_bytes = allocate, kept_bytes
        self._bytes: Tensor | None = None

    def take(self, nbytes: int) -> Tensor:
        if self._bytes is None or self._bytes.numel() < nbytes:
            self.free()  # first, so that both never exist at once
            self._bytes = self._allocate(rounded(nbytes))
        return self._bytes[:nbytes]

    def trim(self) -> None:
        if self._bytes is not None and self._bytes.numel() > self._kept_bytes:
            self.free()

    def free(self) -> None:
        self._bytes = None


class Berth(NamedTuple):
    """The memory of a piece in flight. Host memory is pinned: a device copies from and to it by itself."""

    host_inputs: Memory
    inputs: Memory
    outputs: Memory
    host_outputs: Memory

    def trim(self) -> None:
        for memory in self:
            memory.trim()

    def free(self) -> None:
        for memory in self:
            memory.free()
