"""From torch tensors to messages."""

from collections.abc import Sequence

import torch

from losswire import v1
from losswire.dtypes import BY_NAME


def fill(message: v1.Tensor, tensor: torch.Tensor) -> None:
    """Fills a message in place with a tensor on the CPU, of a dtype of the contract."""
    describe(message, tensor)
    message.data = _data(tensor)


def fill_each(messages: Sequence[v1.Tensor], tensor: torch.Tensor) -> None:
    """Fills several messages, each with its part of a tensor along the first dimension."""
    data, size = _data(tensor), tensor.nbytes // len(messages)
    wire, shape = BY_NAME[dtype_name(tensor.dtype)].wire, tensor.shape[1:]
    for number, message in enumerate(messages):
        message.dtype = wire
        message.shape.extend(shape)
        message.data = data[number * size : (number + 1) * size]


def refer(message: v1.Tensor, tensor: torch.Tensor, span: v1.SharedMemorySpan) -> None:
    """Fills a message with the place of a tensor that lies in shared memory."""
    describe(message, tensor)
    message.shared_memory.CopyFrom(span)


def describe(message: v1.Tensor, tensor: torch.Tensor) -> None:
    """Fills a message with a tensor's dtype and shape."""
    message.dtype = BY_NAME[dtype_name(tensor.dtype)].wire
    message.shape.extend(tensor.shape)


def _data(tensor: torch.Tensor) -> bytes:
    if not tensor.numel():
        return b""  # numpy refuses immense dimensions, even of an empty tensor
    bits = tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor  # numpy does not know it
    return bits.numpy().tobytes()


def elements(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor's elements; a view, if they lie in row-major order."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype's name in the contract's table of element types."""
    return str(dtype).removeprefix("torch.")
