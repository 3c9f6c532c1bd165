"""What a request must say before its tensors are looked at, and what of the contract this server does not serve."""

import math
from functools import cache

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from losswire import v1
from losswire.requests import check_each_once, check_series
from losswire.rows import class_count, row_shape
from losswire.tensors import FieldError
from losswire_server.errors import NotServedError

BY_CLASSES = ("cross_entropy", "nll_loss")  # whose rows are distributions
MAX_ROWS_WITHOUT_CLASSES = 65536  # which take no bytes to send, and some to answer


def check_request(request: v1.EvaluateRequest) -> None:
    """Checks all of a request but what only its tensors' elements tell.

    Raises:
        FieldError: A field is wrong.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    _check_known(request, "")  # first: unknown fields may replace what a newer caller leaves unset
    for required in ("spec", "target", "input"):
        if not request.HasField(required):
            raise FieldError(required, "expected it to be set, got nothing")
    check_series(request.series)
    _check_spec(request.spec)
    _check_rows(request)
    _check_outputs(request.outputs)


def _check_spec(spec: v1.LossSpec) -> None:
    _check_enum("spec.reduction", spec.reduction, v1.Reduction.DESCRIPTOR)
    loss = spec.WhichOneof("loss")
    if loss is None:
        losses = ", ".join(field.name for field in v1.LossSpec.DESCRIPTOR.oneofs_by_name["loss"].fields)
        raise FieldError("spec.loss", f"expected one of {losses}, got nothing")
    options = getattr(spec, loss)
    if "weighting" in options.DESCRIPTOR.fields_by_name and options.HasField("weighting"):
        _check_enum(f"spec.{loss}.weighting", options.weighting, v1.ClassWeighting.DESCRIPTOR)


def _check_rows(request: v1.EvaluateRequest) -> None:
    shape = tuple(request.input.shape)
    if request.spec.WhichOneof("loss") not in BY_CLASSES or not shape or class_count(shape):
        return
    rows = math.prod(row_shape(shape))
    if rows > MAX_ROWS_WITHOUT_CLASSES:
        problem = f"expected at most {MAX_ROWS_WITHOUT_CLASSES} rows without classes, got {rows} in shape {shape}"
        raise FieldError("input", problem)


def _check_outputs(outputs: v1.OutputSpec) -> None:
    for output in outputs.outputs:
        _check_enum("outputs.outputs", output, v1.Output.DESCRIPTOR)
    check_each_once(outputs.outputs)
    gradient = outputs.gradient
    if gradient.HasField("dtype"):
        _check_enum("outputs.gradient.dtype", gradient.dtype, v1.Dtype.DESCRIPTOR)


def _check_enum(field: str, value: int, enum: EnumDescriptor) -> None:
    known = enum.values_by_number
    if value == 0 or value not in known:
        names = ", ".join(known[number].name for number in sorted(known) if number)
        came = known[value].name if value in known else f"number {value}"
        raise FieldError(field, f"expected one of {names}, got {came}")


def _check_known(message: Message, path: str) -> None:
    if len(unknown := UnknownFieldSet(message)):
        problem = f"this server does not know its field number {unknown[0].field_number}; it is older than the caller"
        raise NotServedError(path or "request", problem)
    for name in _message_fields(message.DESCRIPTOR):
        if message.HasField(name):
            _check_known(getattr(message, name), f"{path}.{name}" if path else name)


@cache
def _message_fields(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in descriptor.fields if field.message_type is not None)
