"""Fills tensor messages with numbers of any dtype."""

from collections.abc import Sequence
from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.tensors import decode


def filled(message: v1.Tensor, dtype: str, shape: Sequence[int], numbers: np.ndarray[Any, Any]) -> v1.Tensor:
    """Fills a message in place with numbers, which are cast to the dtype."""
    message.Clear()
    message.dtype = BY_NAME[dtype].wire
    message.shape.extend(shape)
    message.data = numbers.astype(np.dtype(dtype)).tobytes()
    return message


def numbers_of(message: v1.Tensor) -> list[float]:
    """The elements of a right tensor."""
    return [float(number) for number in decode(message, "tensor").reshape(-1)]
