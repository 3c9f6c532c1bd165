"""From messages to torch tensors."""

import warnings

import torch

import ce_engine
from losswire import v1
from losswire.tensors import FieldError, check, check_type
from losswire_server.regions import OFF, Regions

with warnings.catch_warnings():
    # Once in a process torch warns of a read-only buffer. Received bytes are one, and nothing here writes to them.
    warnings.simplefilter("ignore")
    torch.frombuffer(b"\0", dtype=torch.uint8)


def to_torch(tensor: v1.Tensor, field: str, regions: Regions = OFF) -> torch.Tensor:
    """Views a received tensor, without a copy of torch's own; not to be written to.

    Raises:
        FieldError: The tensor contradicts itself, its dtype is unset, or it is not where it says.
        NotServedError: It lies in shared memory, and none is leased.
    """
    if tensor.HasField("shared_memory"):
        return _in_region(tensor, field, regions)
    dtype = getattr(torch, check(tensor, field).name)
    shape = tuple(tensor.shape)
    data = tensor.data
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)


def _in_region(tensor: v1.Tensor, field: str, regions: Regions) -> torch.Tensor:
    dtype = getattr(torch, check_type(tensor, field).name)
    view = regions.view(tensor.shared_memory, f"{field}.shared_memory", dtype, tuple(tensor.shape))
    # Integers tell where to read and write, and the caller can still change them: what is checked must be what is used.
    # Of floats nothing but the caller's own numbers can go wrong.
    return view if dtype.is_floating_point else view.clone()


def destination(gradient: v1.GradientSpec, slab: ce_engine.Slab, regions: Regions) -> torch.Tensor | None:
    """Where the gradient is to be written; None if that was left open.

    Raises:
        FieldError: It does not fit there, or would overwrite what it is computed from.
        NotServedError: It is in shared memory, and none is leased.
    """
    if not gradient.HasField("destination"):
        return None
    field, dtype = "outputs.gradient.destination", slab.kind.grad_dtype or slab.kind.dtype
    place = regions.view(gradient.destination, field, dtype, tuple(slab.input.shape))
    if any(_overlap(place, read) for read in (slab.input, slab.target) if read is not None):
        raise FieldError(field, "expected a place apart from the input and the target, got one that overlaps them")
    return place


def _overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two contiguous tensors share memory."""
    return a.data_ptr() < b.data_ptr() + b.nbytes and b.data_ptr() < a.data_ptr() + a.nbytes
