"""The tensors of a head in the order of its content, and the digest that names it."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.errors import FieldError
from losswire.tensors import read, read_form

KINDS = {v1.NormKind.NORM_KIND_RMS: "rms", v1.NormKind.NORM_KIND_LAYER: "layer"}


class Part(NamedTuple):
    """A tensor in the content of a head.

    Attributes:
        name: ``weight``, ``bias``, ``norm.weight`` or ``norm.bias``.
        tensor: Its message.
        offset: Place of its first byte.
        size: Its bytes.
    """

    name: str
    tensor: v1.Tensor
    offset: int
    size: int


def tensors_of(head: v1.Head) -> dict[str, v1.Tensor]:
    """The tensors that are set, by their names, in the order in which they travel."""
    tensors = {"weight": head.weight}
    if head.HasField("bias"):
        tensors["bias"] = head.bias
    tensors |= {f"norm.{name}": getattr(head.norm, name) for name in ("weight", "bias") if head.norm.HasField(name)}
    return tensors


def parts_of(head: v1.Head) -> list[Part]:
    """Where each tensor lies in the content of a head that passes `check_head`."""
    parts, offset = [], 0
    for name, tensor in tensors_of(head).items():
        size = math.prod(tensor.shape) * BY_WIRE[tensor.dtype].itemsize
        parts.append(Part(name, tensor, offset, size))
        offset += size
    return parts


def content_bytes(head: v1.Head) -> int:
    """Bytes of all elements of a head that passes `check_head`."""
    return sum(part.size for part in parts_of(head))


def digest(head: v1.Head) -> str:
    """The digest of a head with its elements: see `Head` in the contract.

    Raises:
        FieldError: A tensor's dtype, shape and elements do not match, or the norm has no kind.
    """
    elements = {name: read(tensor, f"head.{name}")[2] for name, tensor in tensors_of(head).items()}
    return digest_of(head, {name: hashlib.sha256(data).hexdigest() for name, data in elements.items()})


def digest_of(head: v1.Head, elements: Mapping[str, str]) -> str:
    """The digest of a head whose elements are elsewhere.

    Args:
        head: Its elements are not read.
        elements: SHA-256 of the elements of each tensor, little-endian, in hexadecimal, by the names of `tensors_of`.

    Raises:
        FieldError: A tensor has no dtype, or the norm has no kind.
    """
    told: dict[str, Any] = {
        name: _tensor(tensor, f"head.{name}", elements[name]) for name, tensor in tensors_of(head).items()
    }
    if head.HasField("norm"):
        own = {name: told.pop(f"norm.{name}") for name in ("weight", "bias") if f"norm.{name}" in told}
        told["norm"] = {"kind": kind_of(head.norm), "eps": _number(head.norm.eps), **own}
    if head.softcap:
        told["softcap"] = _number(head.softcap)
    if head.HasField("temperature") and head.temperature != 1.0:
        told["temperature"] = _number(head.temperature)
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def without_elements(head: v1.Head) -> v1.Head:
    """The same head, as it is told: its tensors have dtypes and shapes alone."""
    told = v1.Head()
    for name, tensor in tensors_of(head).items():
        owner = told.norm if name.startswith("norm.") else told
        getattr(owner, name.removeprefix("norm.")).MergeFrom(v1.Tensor(dtype=tensor.dtype, shape=tensor.shape))
    if head.HasField("norm"):
        told.norm.kind, told.norm.eps = head.norm.kind, head.norm.eps
    for number in ("softcap", "temperature"):
        if head.HasField(number):
            setattr(told, number, getattr(head, number))
    return told


def kind_of(norm: v1.Norm, field: str = "head.norm.kind") -> str:
    """The name of the kind of a norm.

    Raises:
        FieldError: It has none.
    """
    if norm.kind not in KINDS:
        known = ", ".join(v1.NormKind.Name(kind) for kind in KINDS)
        raise FieldError(field, f"expected one of {known}, got {_kind_told(norm.kind)}")
    return KINDS[norm.kind]


def _kind_told(number: int) -> str:
    return v1.NormKind.Name(number) if number in v1.NormKind.values() else f"number {number}"  # type: ignore[arg-type]


def _tensor(tensor: v1.Tensor, field: str, elements: str) -> list[Any]:
    element, shape = read_form(tensor, field)
    return [element.name, list(shape), elements]


def _number(number: float) -> float:
    """As JSON writes it: Python has the shortest text. -0.0 is 0.0."""
    return number + 0.0
