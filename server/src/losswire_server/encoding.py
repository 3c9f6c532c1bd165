"""From torch tensors to messages."""

import torch

from losswire import v1
from losswire.dtypes import BY_NAME


def to_message(tensor: torch.Tensor) -> v1.Tensor:
    """Copies a tensor that is on the CPU and of a dtype of the contract."""
    element = BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    return v1.Tensor(dtype=element.wire, shape=tensor.shape, data=data)
