"""Heads on a GPU: their weights in their own dtype, and the products with them.

A product with a weight in half precision rounds the other operand to its dtype, and adds up in float32.
"""

import threading
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._heads.head import Head, Norm

_lock = threading.Lock()
_heads: "weakref.WeakKeyDictionary[Head, dict[torch.device, DeviceHead]]" = weakref.WeakKeyDictionary()


class DeviceHead(NamedTuple):
    """A head's tensors on a device, without padding; and its numbers.

    Attributes:
        weight: (V, H), of the head's dtype.
        bias: (V), of the dtype that is computed in, like the norm's tensors.
    """

    class_count: int
    width: int
    weight: Tensor
    bias: Tensor | None
    norm: Norm | None
    softcap: float | None
    temperature: float


def on_device(head: Head, device: torch.device) -> DeviceHead:
    """The head on a device, as long as the head lives."""
    with _lock:
        devices = _heads.setdefault(head, {})
        if device not in devices:
            devices[device] = _copied(head, device)
        return devices[device]


def _copied(head: Head, device: torch.device) -> DeviceHead:
    weight = head.weight[: head.class_count, : head.width].to(device, head.dtype).contiguous()
    bias = None if head.bias is None else head.bias[: head.class_count].to(device)
    norm = head.norm
    if norm is not None:
        of_norm = (None if x is None else x[: head.width].to(device) for x in (norm.weight, norm.bias))
        norm = Norm(norm.kind, norm.eps, *of_norm)
    return DeviceHead(head.class_count, head.width, weight, bias, norm, head.softcap, head.temperature)


def product(
    x: Tensor,  # (T, H)
    head: DeviceHead,
) -> Tensor:  # (T, V), like x
    return _product(x.to(head.weight.dtype), head.weight.t(), x.dtype)


def product_back(
    grad: Tensor,  # (T, V), of the logits
    head: DeviceHead,
) -> Tensor:  # (T, H), like it
    if head.weight.dtype is grad.dtype:
        return grad @ head.weight
    size = grad.abs().amax(1, keepdim=True)  # a row's numbers may be below those of float16
    size = torch.where((size > 0) & size.isfinite(), size, torch.ones_like(size))
    return _product((grad / size).to(head.weight.dtype), head.weight, grad.dtype).mul_(size)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    if a.dtype is dtype:
        return a @ b
    return torch.mm(a, b, out_dtype=dtype) if a.is_cuda else a.to(dtype) @ b.to(dtype)  # only CUDA adds up in float32
