"""The first message of a stream. It describes the slabs that will come, and is checked before they come."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.fields import ROW_TENSORS
from losswire.forms import ahead_of_input
from losswire.losses import LOSSES, Width, loss_of
from losswire.rows import RowLayout
from losswire_server.errors import NotServedError
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.requests.decoding import placeholder, to_torch
from losswire_server.requests.heads.named import NamedHeads, classes_of
from losswire_server.requests.needed import evaluation_bytes
from losswire_server.requests.planning import PLANS, arguments, by_field, checked
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
        heads: Those that it names.
    """

    request: v1.EvaluateRequest
    loss: str
    layout: RowLayout
    dtype: torch.dtype
    options: dict[str, Any]
    by_rows: dict[str, RowTensor]
    index_targets: bool
    heads: NamedHeads

    @classmethod
    def of(cls, request: v1.EvaluateRequest, held: UsesHeads = NO_HEADS) -> "StreamHeader":
        """Checks a request whose input has elements that come in slabs.

        Args:
            request: It names heads by their digests from then on.
            held: The heads of the server.

        Raises:
            FieldError: A field is wrong.
            NotServedError: A field is right, but asks for what this server does not serve.
            HeadNotFoundError: It names a head that is not held here.
        """
        heads = checked(request, held)
        if request.outputs.gradient.HasField("destination"):
            raise NotServedError("outputs.gradient.destination", "gradients of streams come back in slabs")
        loss = loss_of(request.spec)
        reader = _Reader(request)
        options = arguments(request, reader, heads)
        layout = LOSSES[loss].layout(tuple(request.input.shape))
        dtype, index_targets = options.pop("input").dtype, not options["target"].is_floating_point()
        tensors = {name: options.pop(name) for name in reader.by_rows if isinstance(options.get(name), Tensor)}
        by_rows = {name: _row_tensor(name, tensor, layout, reader.open) for name, tensor in tensors.items()}
        if heads:
            _check_widths(request, dtype, options, tensors)
        return cls(request, loss, layout, dtype, options, by_rows, index_targets, heads)

    @property
    def row_bytes(self) -> int:
        """Bytes of the input of a row."""
        return self.layout.classes * self.dtype.itemsize

    @property
    def class_count(self) -> int:
        return classes_of(self.request, self.heads)

    @property
    def target_width(self) -> int:
        """Numbers a row of targets that are distributions."""
        return self.request.target.shape[-1] if self.layout.classes_last else self.layout.classes

    def result_shape(self, width: Width) -> tuple[int, ...]:
        """The shape of a tensor of the answer that has so many numbers for each row."""
        if width == "top":
            return (*self.layout.row_shape, self.request.outputs.top_k)
        if width == "classes" and not self.layout.elementwise:
            return self.layout.wide_shape(self.class_count)
        return self.layout.row_shape if width == "one" else self.layout.shape

    @cached_property
    def result_bytes(self) -> float:
        """Bytes of results for each byte of the input."""
        elements = math.prod(self.layout.shape)
        return evaluation_bytes(self.request, heads=self.heads).results / (elements * self.dtype.itemsize)

    @property
    def ahead_bytes(self) -> int:
        """Memory of targets that must come ahead of the input."""
        if not self.ahead:
            return 0
        tensor: v1.Tensor = getattr(self.request, self.ahead)
        return math.prod(tensor.shape) * BY_WIRE[tensor.dtype].itemsize

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
            return PLANS[self.loss](input=placeholder(self.request.input, "input"), **tensors, **self.options)

    @cached_property
    def ahead(self) -> str:
        """The argument, targets or labels, that must come ahead of the input, since results depend on all of it."""
        return ahead_of_input(self.request, BY_WIRE[self.request.target.dtype].name)


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
        self.by_rows = ["target", *ROW_TENSORS]
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
    width = _width(name, tensor, layout)
    if name in is_open:
        return Coming(name, tensor.dtype, layout, width)
    return Narrow(tensor, layout) if width is None else Wide(tensor, layout, width)


def _width(name: str, tensor: Tensor, layout: RowLayout) -> int | None:
    """Numbers a row of a tensor that has several; None for one number a row."""
    is_distribution = name == "target" and not layout.elementwise and tensor.is_floating_point()
    if not is_distribution and name != "target_classes":
        return None
    return tensor.shape[-1] if layout.classes_last else layout.classes


def _check_widths(
    request: v1.EvaluateRequest, dtype: torch.dtype, options: Mapping[str, Any], by_rows: Mapping[str, Tensor]
) -> None:
    """Has the engine check a batch without rows, before any come: it alone knows what fits a head."""
    whole = {"input": torch.empty(1, dtype=dtype).expand(tuple(request.input.shape)), **by_rows}
    row_dims = len(request.input.shape) - 1
    none = {name: tensor.new_empty((0, *tensor.shape[row_dims:])) for name, tensor in whole.items()}
    with by_field(request.spec):
        try:
            PLANS[loss_of(request.spec)](**none, **options)
        except ce_engine.InvalidArgumentError as error:
            if error.argument not in none:
                raise
            raise _of_whole(error, none, whole) from error


def _of_whole(
    error: ce_engine.InvalidArgumentError, none: Mapping[str, Tensor], whole: Mapping[str, Tensor]
) -> ce_engine.InvalidArgumentError:
    """The same error, which tells the shape that came and not that of no rows."""
    shapes = (tensors[error.argument].shape for tensors in (none, whole))
    without, came = (str(tuple(shape)) for shape in shapes)
    return ce_engine.InvalidArgumentError(error.argument, error.problem.replace(f"got {without}", f"got {came}"))
