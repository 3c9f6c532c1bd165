"""The first message of a stream. It describes the slabs that will come, and is checked before they come."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.forms import ahead_of_input
from losswire.losses import LOSSES, loss_of
from losswire.rows import RowLayout
from losswire_server.errors import NotServedError
from losswire_server.requests.check import check_request
from losswire_server.requests.decoding import placeholder, to_torch
from losswire_server.requests.needed import evaluation_bytes
from losswire_server.requests.planning import PLANS, arguments, by_field
from losswire_server.requests.slabs.row_tensors import Coming, Narrow, RowTensor, Wide

PLANNED_ROWS = 2**16  # a plan takes some 30 bytes a row


@dataclass(frozen=True)
class StreamHeader:
    """A request whose input comes in slabs.

    Attributes:
        request: As it came.
        loss: Name of the loss.
        layout: How its rows lie in its input.
        dtype: Of the input.
        options: Arguments of the loss except `by_rows` and the input.
        by_rows: Arguments that have numbers for each row.
        index_targets: Whether targets are class indices.
    """

    request: v1.EvaluateRequest
    loss: str
    layout: RowLayout
    dtype: torch.dtype
    options: dict[str, Any]
    by_rows: dict[str, RowTensor]
    index_targets: bool

    @classmethod
    def of(cls, request: v1.EvaluateRequest) -> "StreamHeader":
        """Checks a request whose input has elements that come in slabs.

        Raises:
            FieldError: A field is wrong.
            NotServedError: A field is right, but asks for what this server does not serve.
        """
        check_request(request)
        if request.outputs.gradient.HasField("destination"):
            raise NotServedError("outputs.gradient.destination", "gradients of streams come back in slabs")
        loss = loss_of(request.spec)
        reader = _Reader(request)
        options = arguments(request, reader)
        layout = LOSSES[loss].layout(tuple(request.input.shape))
        dtype, index_targets = options.pop("input").dtype, not options["target"].is_floating_point()
        tensors = {name: options.pop(name) for name in reader.by_rows if isinstance(options.get(name), Tensor)}
        by_rows = {name: _row_tensor(name, tensor, layout, reader.open) for name, tensor in tensors.items()}
        return cls(request, loss, layout, dtype, options, by_rows, index_targets)

    @property
    def row_bytes(self) -> int:
        """Bytes of the input of a row."""
        return self.layout.classes * self.dtype.itemsize

    @cached_property
    def result_bytes(self) -> float:
        """Bytes of results for each byte of the input."""
        elements = math.prod(self.layout.shape)
        return evaluation_bytes(self.request).results / (elements * self.dtype.itemsize)

    @property
    def ahead_bytes(self) -> int:
        """Memory of targets that must come ahead of the input."""
        target = self.request.target
        return math.prod(target.shape) * BY_WIRE[target.dtype].itemsize if self.needs_all_targets else 0

    @property
    def can_be_planned(self) -> bool:
        """Whether everything except the input is here, and small enough to be planned as a whole."""
        here = all(isinstance(tensor, Narrow) for tensor in self.by_rows.values())
        return here and self.index_targets and self.layout.row_count <= PLANNED_ROWS

    def plan(self) -> ce_engine.Slab:
        """Plans the whole batch, with a placeholder for its input.

        Raises:
            FieldError: A target is no class.
        """
        tensors = {name: tensor.tensor for name, tensor in self.by_rows.items() if isinstance(tensor, Narrow)}
        with by_field(self.request.spec):
            return PLANS[self.loss](placeholder(self.request.input, "input"), **tensors, **self.options)

    @property
    def needs_all_targets(self) -> bool:
        """Whether a row's result depends on all targets, so that they must come ahead of the input."""
        return ahead_of_input(self.request, BY_WIRE[self.request.target.dtype].name) == "target"


def leaves_input_open(request: v1.EvaluateRequest) -> bool:
    """Whether the input has elements, and they come in slabs."""
    return request.HasField("input") and 0 not in request.input.shape and not request.input.WhichOneof("storage")


class _Reader:
    """Reads a header's tensors. A tensor whose elements come in slabs is read as a placeholder.

    Attributes:
        by_rows: Names of arguments that have numbers for each row.
        open: Names of the tensors whose elements come in slabs.
    """

    def __init__(self, request: v1.EvaluateRequest) -> None:
        elementwise = LOSSES[loss_of(request.spec)].elementwise
        self.by_rows = ["target", "sample_weight"]
        self.by_rows += ["weight", "pos_weight"] if elementwise else []
        self.by_rows += ["grad_output"] if request.spec.reduction == v1.Reduction.REDUCTION_NONE else []
        self.open: set[str] = set()
        self._shape = request.input.shape

    def __call__(self, tensor: v1.Tensor, field: str) -> Tensor:
        name = field.rpartition(".")[2]
        here = tensor.WhichOneof("storage") or 0 in tensor.shape
        broadcast = name == "pos_weight" or (name == "weight" and tensor.shape != self._shape)
        if name != "input" and (here or broadcast or name not in self.by_rows):
            return to_torch(tensor, field)
        self.open.add(name)
        return placeholder(tensor, field)


def _row_tensor(name: str, tensor: Tensor, layout: RowLayout, is_open: set[str]) -> RowTensor:
    wide = name == "target" and not layout.elementwise and tensor.is_floating_point()
    if name in is_open:
        return Coming(name, tensor.dtype, layout, wide=wide)
    return Wide(tensor, layout) if wide else Narrow(tensor, layout)
