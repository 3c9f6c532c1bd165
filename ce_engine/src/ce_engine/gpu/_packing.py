"""Several tensors in one buffer, so that one copy between host and device moves all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Size, Tensor

ALIGNMENT = 16  # bytes: the widest load of a thread


@dataclass(frozen=True)
class _Place:
    start: int
    shape: Size
    dtype: torch.dtype

    @property
    def stop(self) -> int:
        return self.start + self.shape.numel() * self.dtype.itemsize


class Packing:
    """Where tensors lie in a buffer of bytes."""

    def __init__(self, places: Mapping[str, _Place], nbytes: int) -> None:
        self._places = places
        self.nbytes = nbytes

    @classmethod
    def of(cls, like: Mapping[str, Tensor]) -> Self:
        """A place for each tensor of such a shape and dtype; its device does not matter."""
        places, end = {}, 0
        for name, tensor in like.items():
            places[name] = _Place(end, tensor.shape, tensor.dtype)
            end = -(-places[name].stop // ALIGNMENT) * ALIGNMENT
        return cls(places, end)

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors, in a buffer."""
        return {
            name: buffer[place.start : place.stop].view(place.dtype).view(place.shape)
            for name, place in self._places.items()
        }
