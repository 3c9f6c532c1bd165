"""From messages to torch tensors."""

import math
import warnings
from collections.abc import Sequence

import torch

from losswire import v1
from losswire.errors import FieldError
from losswire.tensors import read, read_form
from losswire_server.errors import NotServedError
from losswire_server.requests.encoding import dtype_name

with warnings.catch_warnings():
    # torch warns once in a process of a read-only buffer, as received bytes are. Nothing here writes to them.
    warnings.simplefilter("ignore")
    torch.frombuffer(b"\0", dtype=torch.uint8)


def to_torch(tensor: v1.Tensor, field: str, payload: memoryview | None = None) -> torch.Tensor:
    """Views a received tensor, without a copy if it is aligned for its dtype. Do not write to it.

    Args:
        tensor: The message.
        field: Its path.
        payload: Its elements, if the message lacks them.

    Raises:
        FieldError: Its dtype, shape and data do not match, or its dtype is unset.
        NotServedError: It lies in shared memory.
    """
    if payload is not None:
        return _from_payload(tensor, field, payload)
    if tensor.HasField("shared_memory"):
        raise NotServedError(field, "shared memory is for Evaluate; send the elements in data or in slabs")
    element, shape, data = read(tensor, field)
    dtype = getattr(torch, element.name)
    return torch.frombuffer(data, dtype=dtype).view(shape) if data else torch.empty(shape, dtype=dtype)


def _from_payload(tensor: v1.Tensor, field: str, payload: memoryview) -> torch.Tensor:
    if tensor.data or tensor.HasField("shared_memory"):  # protobuf would take what came last
        raise FieldError(field, "expected its elements once, got them again")
    element, shape = read_form(tensor, field)
    return from_bytes(payload, getattr(torch, element.name), shape, field)


def placeholder(tensor: v1.Tensor, field: str) -> torch.Tensor:
    """A tensor of the same dtype and shape that takes no memory, for one whose elements come later.

    Raises:
        FieldError: Its dtype or shape is wrong.
    """
    element, shape = read_form(tensor, field)
    return torch.zeros((), dtype=getattr(torch, element.name)).expand(shape)


def from_bytes(data: memoryview, dtype: torch.dtype, shape: Sequence[int], field: str) -> torch.Tensor:
    """Views a payload, or copies it if it is not aligned for its dtype. Do not write to it.

    Raises:
        FieldError: It is too long or too short.
    """
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise FieldError(
            field, f"expected {expected} bytes for {dtype_name(dtype)} of shape {tuple(shape)}, got {len(data)}"
        )
    if not expected:
        return torch.empty(shape, dtype=dtype)
    elements = torch.frombuffer(data, dtype=dtype)
    if elements.data_ptr() % dtype.itemsize:
        elements = elements.view(torch.uint8).clone().view(dtype)
    return elements.view(shape)
