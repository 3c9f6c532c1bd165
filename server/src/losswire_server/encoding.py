"""From torch tensors to messages."""

import torch

from losswire import v1
from losswire.dtypes import BY_NAME


def fill(message: v1.Tensor, tensor: torch.Tensor) -> None:
    """Fills a message in its place with a tensor that is on the CPU and of a dtype of the contract."""
    message.dtype = BY_NAME[str(tensor.dtype).removeprefix("torch.")].wire
    message.shape.extend(tensor.shape)
    message.data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
