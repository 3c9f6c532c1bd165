"""A batch as the twin sees it, from a message of the contract or from the arguments of a client."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np
import torch
from torch import Tensor

from losswire import v1
from losswire.fields import tensors_in
from losswire.losses import LOSSES, REDUCTIONS, WEIGHTINGS, loss_of, options_of
from losswire.rows import class_count, row_shape
from losswire.tensors import decode

REDUCTION_NAMES = {wire: name for name, wire in REDUCTIONS.items()}
WEIGHTING_NAMES = {wire: name for name, wire in WEIGHTINGS.items()}


@dataclass(frozen=True)
class Batch:
    """A loss and its arguments, by the names that they have in PyTorch and in the SDK.

    Attributes:
        loss: Its name.
        input: Of any shape that the loss takes.
        target: Class indices or probabilities.
        options: All others that change numbers: tensors, numbers, and ``balanced`` or ``complement`` for ``weight``.
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
    def classes(self) -> int:
        return 1 if self.elementwise else class_count(tuple(self.input.shape))

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a tensor with one number a row."""
        shape = tuple(self.input.shape)
        return shape if self.elementwise else row_shape(shape)

    @property
    def row_count(self) -> int:
        return math.prod(self.row_shape)

    def rows(self, tensor: Tensor) -> Tensor:  # (R, C)
        """A tensor of the input's shape, as rows."""
        last = tensor.movedim(1, -1) if not self.elementwise and tensor.dim() > 1 else tensor
        return last.reshape(self.row_count, self.classes)

    def numbers(self, name: str, *shape: int) -> Tensor:
        """An option in float64, rounded as the engine rounds it, in that shape; ones if it is not given."""
        option = self.options.get(name)
        numbers = torch.ones(()) if option is None else option
        return numbers.to(self.compute_dtype).double().expand(shape or numbers.shape)


def of_request(request: v1.EvaluateRequest) -> Batch:
    """The batch of a right request that has all of its elements."""
    tensors = {name: as_torch(decode(tensor, name)) for name, tensor in tensors_in(request)}
    options: dict[str, Any] = {
        "reduction": REDUCTION_NAMES[request.spec.reduction],
        "empty": "zero" if request.spec.zero_when_empty else "nan",
    }
    if request.spec.HasField("divisor"):
        options["divisor"] = request.spec.divisor
    for descriptor, value in options_of(request.spec).ListFields():
        if descriptor.message_type is None:
            options[descriptor.name] = value
    if "weighting" in options:
        options["weight"] = WEIGHTING_NAMES[options.pop("weighting")]
    return Batch(loss_of(request.spec), tensors.pop("input"), tensors.pop("target"), options | tensors)


def as_torch(array: np.ndarray[Any, Any]) -> Tensor:
    """A view of an array, which may be bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
