"""A batch as the twin sees it, from a message of the contract or from the arguments of a client."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from losswire import v1
from losswire.fields import tensors_in
from losswire.losses import DIVERGENCES, HEADS, LOSSES, REDUCTIONS, TAILS, WEIGHTINGS, loss_of, options_of
from losswire.rows import class_count, row_shape
from losswire.tensors import decode
from trials.twin.heads import Head, Heads
from trials.twin.tensors import as_torch

REDUCTION_NAMES = {wire: name for name, wire in REDUCTIONS.items()}
WEIGHTING_NAMES = {wire: name for name, wire in WEIGHTINGS.items()}
NAMES: Mapping[str, Mapping[int, str]] = {  # of options that are enums
    "divergence": {wire: name for name, wire in DIVERGENCES.items()},
    "tail": {wire: name for name, wire in TAILS.items()},
}
NO_HEADS: Heads = {}


@dataclass(frozen=True)
class Batch:
    """A loss and its arguments, by the names that they have in PyTorch and in the SDK.

    Attributes:
        loss: Its name.
        input: Of any shape that the loss takes.
        target: Class indices, probabilities, or what the loss takes.
        options: All others that change numbers: tensors, numbers, names, and `Head` for heads.
    """

    loss: str
    input: Tensor
    target: Tensor
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def elementwise(self) -> bool:
        return LOSSES[self.loss].elementwise

    @property
    def compute_dtype(self) -> torch.dtype:
        return torch.float64 if self.input.dtype is torch.float64 else torch.float32

    @property
    def classes_last(self) -> bool:
        return LOSSES[self.loss].classes_last

    def head(self, argument: str) -> Head | None:
        """The head that makes logits of the input, or of the target."""
        return self.options.get(argument)

    @property
    def classes(self) -> int:
        head = self.head("head")
        if head is not None:
            return head.classes
        return 1 if self.elementwise else class_count(tuple(self.input.shape), last=self.classes_last)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a tensor with one number a row."""
        shape = tuple(self.input.shape)
        return shape if self.elementwise else row_shape(shape, last=self.classes_last)

    @property
    def row_count(self) -> int:
        return math.prod(self.row_shape)

    def rows(self, tensor: Tensor) -> Tensor:  # (R, C)
        """A tensor of the input's shape, or with classes in place of a hidden state's numbers, as rows."""
        if self.elementwise:
            return tensor.reshape(self.row_count, 1)
        last = tensor.movedim(1, -1) if tensor.dim() > 1 and not self.classes_last else tensor
        return last.reshape(self.row_count, last.shape[-1])

    def numbers(self, name: str, *shape: int) -> Tensor:
        """An option in float64, rounded as the engine rounds it, in that shape; ones if it is not given."""
        option = self.options.get(name)
        numbers = torch.ones(()) if option is None else option
        return numbers.to(self.compute_dtype).double().expand(shape or numbers.shape)


def of_request(request: v1.EvaluateRequest, heads: Heads = NO_HEADS) -> Batch:
    """The batch of a right request that has all of its elements, and names some of these heads."""
    tensors = {name: as_torch(decode(tensor, name)) for name, tensor in tensors_in(request)}
    options: dict[str, Any] = {
        "reduction": REDUCTION_NAMES[request.spec.reduction],
        "empty": "zero" if request.spec.zero_when_empty else "nan",
    }
    if request.spec.HasField("divisor"):
        options["divisor"] = request.spec.divisor
    for descriptor, value in options_of(request.spec).ListFields():
        if descriptor.message_type is None:
            options[descriptor.name] = _option(descriptor.name, value, heads)
    if "weighting" in options:
        options["weight"] = WEIGHTING_NAMES[options.pop("weighting")]
    return Batch(loss_of(request.spec), tensors.pop("input"), tensors.pop("target"), options | tensors)


def _option(name: str, value: Any, heads: Heads) -> Any:
    if name in HEADS:
        return heads[value]
    return NAMES[name][value] if name in NAMES else value
