"""Several tensors in one buffer, so that one copy between host and device moves all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Size, Tensor

ALIGNMENT = 16  # bytes: the widest load of a thread


@dataclass(frozen=True)
class _Extent:
    start: int
    shape: Size
    dtype: torch.dtype

    @property
    def stop(self) -> int:
        return self.start + self.shape.numel() * self.dtype.itemsize


class Packing:
    """Where tensors lie in a buffer of bytes."""

    def __init__(self, extents: Mapping[str, _Extent], nbytes: int) -> None:
        self._extents = extents
        self.nbytes = nbytes

    @classmethod
    def of(cls, like: Mapping[str, Tensor]) -> Self:
        """Room for tensors of these shapes and dtypes; their devices do not matter."""
        extents, end = {}, 0
        for name, tensor in like.items():
            extents[name] = _Extent(end, tensor.shape, tensor.dtype)
            end = -(-extents[name].stop // ALIGNMENT) * ALIGNMENT
        return cls(extents, end)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors, in a buffer."""
        return {
            name: buffer[extent.start : extent.stop].view(extent.dtype).view(extent.shape)
            for name, extent in self._extents.items()
        }
