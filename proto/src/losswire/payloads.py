"""Parses and writes messages with large tensors without a copy of their elements.

Protobuf copies the elements when it parses a message, and again at each access. To write one, it copies them twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import MAX_FIELDS, parse
from losswire.wire import LENGTH_DELIMITED, read_fields, tag, varint

MessageT = TypeVar("MessageT", bound=Message)
Payloads = Mapping[str, memoryview]  # elements of tensors, by the paths of the tensors' fields

NO_PAYLOADS: Payloads = {}

LEAST_BYTES = 4096  # smaller ones are left to protobuf
DATA = v1.Tensor.DESCRIPTOR.fields_by_name["data"].number


def parse_apart(
    message: type[MessageT], data: bytes | memoryview, where: str = "request"
) -> tuple[MessageT, dict[str, memoryview]]:
    """Parses bytes of any origin, but for the elements of large tensors.

    Returns:
        The message, whose large tensors have no data; and their elements, as views of the bytes.

    Raises:
        FieldError: As `parse`, or a tensor has large elements twice.
        DecodeError: As `parse`.
    """
    payloads: dict[str, memoryview] = {}
    if len(data) < LEAST_BYTES:
        return parse(message, data, where), payloads
    rest = _rest(memoryview(data), cast(Descriptor, message.DESCRIPTOR), "", where, payloads)
    return parse(message, b"".join(rest), where), payloads


def write_with(message: Message, payloads: Iterable[tuple[str, v1.Tensor, memoryview]]) -> bytes:
    """The bytes of a message and of tensors that it lacks: the fields of these, the tensors without data, the data."""
    parts: list[bytes | memoryview] = [message.SerializeToString()]
    numbers = message.DESCRIPTOR.fields_by_name
    for name, tensor, data in payloads:
        form, prefix = tensor.SerializeToString(), tag(DATA, LENGTH_DELIMITED) + varint(len(data))
        length = len(form) + len(prefix) + len(data)
        parts += (tag(numbers[name].number, LENGTH_DELIMITED), varint(length), form, prefix, data)
    return b"".join(parts)


def _rest(
    data: memoryview, kind: Descriptor, path: str, where: str, payloads: dict[str, memoryview]
) -> Iterator[bytes | memoryview]:
    """The parts of a message without the elements of large tensors, which are added to the payloads."""
    nested = _nested(kind)
    for number, wire, value in read_fields(data, where, MAX_FIELDS):
        yield tag(number, wire)
        if not isinstance(value, memoryview):
            yield varint(value)
            continue
        if wire == LENGTH_DELIMITED and len(value) >= LEAST_BYTES:
            if kind is v1.Tensor.DESCRIPTOR and number == DATA:
                if path in payloads:
                    raise FieldError(path, "expected its data once, got it again")
                payloads[path] = value
                value = memoryview(b"")
            elif number in nested:
                name, inner = nested[number]
                value = memoryview(b"".join(_rest(value, inner, f"{path}.{name}".lstrip("."), where, payloads)))
        if wire == LENGTH_DELIMITED:
            yield varint(len(value))
        yield value


@cache
def _nested(kind: Descriptor) -> Mapping[int, tuple[str, Descriptor]]:
    """The fields that have one message: its name and type, by their numbers."""
    return {
        field.number: (field.name, field.message_type)
        for field in kind.fields
        if field.message_type is not None and not field.is_repeated
    }
