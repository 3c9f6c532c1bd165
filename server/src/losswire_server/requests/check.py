"""Checks a request before its elements are looked at: whether it is right, and whether this server serves it."""

import math
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from losswire import forms, v1
from losswire.errors import FieldError
from losswire.losses import LOSSES, LossKind, heads_of, loss_of
from losswire.rows import class_count
from losswire_server.errors import NotServedError

MAX_SUMMED_CLASSES = 10_000  # the exact sums of one take about 2 KB here, and 100 bytes in the answer
MAX_ROWS_WITHOUT_CLASSES = 65536  # such rows take no bytes to send, but some to answer


def check_request(request: v1.EvaluateRequest) -> None:
    """Checks everything in a request except the elements of its tensors.

    Raises:
        FieldError: A field is wrong.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    check_known(request)  # first: a newer caller may set unknown fields in place of known ones
    for required in ("spec", "target", "input"):
        if not request.HasField(required):
            raise FieldError(required, "expected it to be set, got nothing")
    forms.check(request, forms.forms_of(request))
    kind, shape = LOSSES[loss_of(request.spec)], tuple(request.input.shape)
    if kind.elementwise:
        return
    width = class_count(shape, last=kind.classes_last)
    if not width:
        _check_rows(kind, shape)
    if not heads_of(request.spec):
        check_summed_classes(request, width)


def _check_rows(kind: LossKind, shape: tuple[int, ...]) -> None:
    rows = math.prod(kind.layout(shape).row_shape)
    if rows > MAX_ROWS_WITHOUT_CLASSES:
        problem = f"expected at most {MAX_ROWS_WITHOUT_CLASSES} rows without classes, got {rows} in shape {shape}"
        raise FieldError("input", problem)


def check_summed_classes(request: v1.EvaluateRequest, classes: int) -> None:
    """Checks that the exact sums of each class are not too many, if they are wanted.

    Raises:
        FieldError: They are.
    """
    if request.exact.by_class and classes > MAX_SUMMED_CLASSES:
        problem = f"expected at most {MAX_SUMMED_CLASSES} classes to add up each of them, got an input of {classes}"
        raise FieldError("exact.by_class", problem)


def check_known(message: Message, path: str = "") -> None:
    """Checks that a message has no field that this server does not know.

    Raises:
        NotServedError: It has one.
    """
    if len(unknown := UnknownFieldSet(message)):
        problem = f"this server does not know its field number {unknown[0].field_number}; it is older than the caller"
        raise NotServedError(path or "request", problem)
    for name in _message_fields(message.DESCRIPTOR):
        if message.HasField(name):
            check_known(getattr(message, name), f"{path}.{name}" if path else name)


@cache
def _message_fields(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in descriptor.fields if field.message_type and field.has_presence)
