"""From messages to torch tensors."""

import warnings

import torch

from losswire import v1
from losswire.tensors import check
from losswire_server.errors import NotServedError

with warnings.catch_warnings():
    # Once in a process torch warns of a read-only buffer. Received bytes are one, and nothing here writes to them.
    warnings.simplefilter("ignore")
    torch.frombuffer(b"\0", dtype=torch.uint8)


def to_torch(tensor: v1.Tensor, field: str) -> torch.Tensor:
    """Views a received tensor, without a copy of torch's own; not to be written to.

    Raises:
        FieldError: The tensor contradicts itself, or its dtype is unset.
        NotServedError: It lies in shared memory.
    """
    if tensor.HasField("shared_memory"):
        raise NotServedError(field, "this server leases no shared memory; send the elements in data")
    dtype = getattr(torch, check(tensor, field).name)
    shape = tuple(tensor.shape)
    data = tensor.data
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
