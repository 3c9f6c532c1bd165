"""From torch tensors to messages."""

import torch

from losswire import v1
from losswire.dtypes import BY_NAME


def fill(message: v1.Tensor, tensor: torch.Tensor) -> None:
    """Fills a message in its place with a tensor that is on the CPU and of a dtype of the contract."""
    describe(message, tensor)
    message.data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def refer(message: v1.Tensor, tensor: torch.Tensor, span: v1.SharedMemorySpan) -> None:
    """Fills a message with the place of a tensor that lies in shared memory."""
    describe(message, tensor)
    message.shared_memory.CopyFrom(span)


def describe(message: v1.Tensor, tensor: torch.Tensor) -> None:
    """Says what a tensor is, but not where its elements are."""
    message.dtype = BY_NAME[str(tensor.dtype).removeprefix("torch.")].wire
    message.shape.extend(tensor.shape)
