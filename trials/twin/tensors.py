"""Arrays as tensors."""

from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np
import torch
from torch import Tensor


def as_torch(array: np.ndarray[Any, Any]) -> Tensor:
    """A view of an array, which may be bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
