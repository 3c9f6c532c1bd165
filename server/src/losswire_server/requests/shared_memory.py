"""Tensors in shared memory: the server reads inputs there, and writes the gradient there."""

import torch
from torch import Tensor

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.payloads import Payloads
from losswire.tensors import read_form
from losswire_server.memory.regions import Regions
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.planning import Reader


def reader(regions: Regions, payloads: Payloads) -> Reader:
    """Reads tensors wherever they are: in the message, beside it, or in shared memory."""

    def read(tensor: v1.Tensor, field: str) -> Tensor:
        payload = payloads.get(field)
        if payload is None and tensor.HasField("shared_memory"):
            return _in_region(tensor, field, regions)
        return to_torch(tensor, field, payload)

    return read


def _in_region(tensor: v1.Tensor, field: str, regions: Regions) -> Tensor:
    element, shape = read_form(tensor, field)
    dtype = getattr(torch, element.name)
    view = regions.view(tensor.shared_memory, f"{field}.shared_memory", dtype, shape)
    # Integers tell where to read and write, and the caller can still change them, so they are copied before they are
    # checked. A change of floats can only spoil the caller's own numbers.
    return view if dtype.is_floating_point else view.clone()


def destination(gradient: v1.GradientSpec, slab: ce_engine.Slab, regions: Regions) -> Tensor | None:
    """Where the gradient is to be written; None if the request does not say.

    Raises:
        FieldError: It does not fit there, or would overwrite the input or the target.
        NotServedError: This server leases no memory.
    """
    if not gradient.HasField("destination"):
        return None
    field, dtype = "outputs.gradient.destination", slab.kind.grad_dtype or slab.kind.dtype
    place = regions.view(gradient.destination, field, dtype, tuple(slab.input.shape))
    if any(_overlap(place, read) for read in (slab.input, slab.target) if read is not None):
        raise FieldError(field, "expected a place that does not overlap the input or the target, got one that does")
    return place


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two contiguous tensors share memory."""
    return a.data_ptr() < b.data_ptr() + b.nbytes and b.data_ptr() < a.data_ptr() + a.nbytes
