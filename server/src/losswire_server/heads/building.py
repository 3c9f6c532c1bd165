"""Makes heads for the engine of their forms and tensors."""

import hashlib
import math
from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor

import ce_engine
from losswire import v1
from losswire.dtypes import BY_NAME, BY_WIRE
from losswire.heads.content import content_bytes, digest_of, kind_of

TILE = 64  # classes and hidden widths are padded to multiples of it


def build(form: v1.Head, tensors: Mapping[str, Tensor]) -> ce_engine.Head:
    """The head of a form that passes `check_head`, and its tensors by the names of `tensors_of`.

    Raises:
        InvalidArgumentError: The engine cannot have such a head.
    """
    norm = None
    if form.HasField("norm"):
        kind = cast(Literal["rms", "layer"], kind_of(form.norm))
        norm = ce_engine.Norm(kind, form.norm.eps, tensors.get("norm.weight"), tensors.get("norm.bias"))
    return ce_engine.Head(
        tensors["weight"],
        tensors.get("bias"),
        norm=norm,
        softcap=form.softcap or None,
        temperature=form.temperature if form.HasField("temperature") else 1.0,
    )


def empty(tensor: v1.Tensor) -> Tensor:
    """A tensor of this form, whose elements are to come."""
    return torch.empty(tuple(tensor.shape), dtype=getattr(torch, BY_WIRE[tensor.dtype].name))


def form_of(tensor: Tensor) -> v1.Tensor:
    """The form of a tensor; without a dtype if the contract has no such dtype."""
    element = BY_NAME.get(str(tensor.dtype).removeprefix("torch."))
    return v1.Tensor(dtype=element.wire if element else v1.Dtype.DTYPE_UNSPECIFIED, shape=tensor.shape)


def bytes_of(tensor: Tensor) -> memoryview:
    """The elements of a tensor without gaps, which may be written to."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def digest_with(form: v1.Head, tensors: Mapping[str, Tensor]) -> str:
    """The digest of a head."""
    return digest_of(form, {name: hashlib.sha256(bytes_of(tensor)).hexdigest() for name, tensor in tensors.items()})


def building_bytes(form: v1.Head) -> int:
    """What a head that passes `check_head` probably takes while it is built: its elements, and the weight for products.

    A bfloat16 weight is padded first, and then laid out for either product.
    """
    padded = math.prod(-(-size // TILE) * TILE for size in form.weight.shape)
    itemsize = {v1.Dtype.DTYPE_FLOAT64: 8, v1.Dtype.DTYPE_BFLOAT16: 6}.get(form.weight.dtype, 4)
    return content_bytes(form) + padded * itemsize
