"""Output layers as scripts of PyTorch have them, as heads. A head is frozen: it gets no gradient."""

from collections.abc import MutableMapping
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from losswire_client import Head
from losswire_client._errors import invalid_argument, shown

AnyHead: TypeAlias = Head | str | nn.Linear | tuple[Tensor, Tensor | None]

FREEZE = (
    "expected a {name} that requires no gradient, since a head is frozen and only the input gets one: freeze it by "
    "requires_grad_(False), detach it, or make a losswire_client.Head of it"
)


class _Made(NamedTuple):
    """A head that was made of a layer, and which of the layer's numbers it has."""

    versions: tuple[tuple[int, int, bytes], ...]
    head: Head


SPOT_COUNT = 4096  # of a tensor's numbers are looked at in each call

_made: MutableMapping[Tensor, _Made] = WeakIdKeyDictionary()  # by weights, since digests take long


def to_head(argument: str, value: object) -> Head | str:
    """A head, or the name of one. A layer is made a head once, and again after its numbers have changed.

    What is written through `data` to a few numbers alone may go unseen.

    Raises:
        InvalidArgumentError: It is no head; or a tensor of it requires a gradient, which it would not get.
    """
    if isinstance(value, Head | str):
        return value
    weight, bias = _tensors(argument, value)
    tensors = [weight] if bias is None else [weight, bias]
    for name, tensor in zip(("weight", "bias"), tensors, strict=False):
        if tensor.requires_grad and torch.is_grad_enabled():
            raise invalid_argument(argument, FREEZE.format(name=name))
    versions = tuple(_version(tensor) for tensor in tensors)
    if weight not in _made or _made[weight].versions != versions:
        _made[weight] = _Made(versions, Head(weight.detach(), None if bias is None else bias.detach()))
    return _made[weight].head


def _version(tensor: Tensor) -> tuple[int, int, bytes]:
    """Which tensor it is, how often its numbers have been written to, and some of them.

    PyTorch does not count what is written through `data`, as moving averages of a teacher often are.
    """
    spots = torch.arange(0, tensor.numel(), tensor.numel() // SPOT_COUNT | 1, device=tensor.device)
    some = tensor.detach()[torch.unravel_index(spots, tensor.shape)]
    return id(tensor), tensor._version, some.view(torch.uint8).cpu().numpy().tobytes()  # noqa: SLF001 - no other way


def _tensors(argument: str, value: object) -> tuple[Tensor, Tensor | None]:
    if isinstance(value, nn.Linear):
        return value.weight, value.bias
    if isinstance(value, tuple) and len(value) == 2:
        weight, bias = value
        if isinstance(weight, Tensor) and isinstance(bias, Tensor | None):
            return weight, bias
    expected = "a losswire_client.Head, digest or alias of one, an nn.Linear, or a tuple of weight and bias"
    error = invalid_argument(argument, f"expected {expected}, got {shown(value)}")
    error.hint = "a weight without a bias is (weight, None)" if isinstance(value, Tensor) else ""
    raise error
