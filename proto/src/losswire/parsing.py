"""Parses received messages by protobuf. First it counts their fields, so that no message takes long to parse."""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from losswire.errors import FieldError
from losswire.wire import FIXED32, FIXED64, LENGTH_DELIMITED, MAX_PREFIX_BYTES, VARINT, read_varint

MessageT = TypeVar("MessageT", bound=Message)

MAX_FIELDS = 1000  # no message needs half of them, and parsing millions of fields, known or not, takes seconds
FEW_FIELDS_BYTES = 2 * MAX_FIELDS  # a tag and a value each; messages up to this length always parse fast
UNCOUNTED_BYTES = 128  # nested messages up to this length are assumed to be full of fields
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}


def parse(
    message: type[MessageT], data: bytes | memoryview, where: str = "request", most_fields: int = MAX_FIELDS
) -> MessageT:
    """Parses bytes of any origin. A large payload costs a copy, and many fields cost next to nothing.

    Raises:
        FieldError: The bytes have more than `most_fields` fields, including fields of nested messages and elements of
            packed fields, or are not a message. The error names `where` they are.
        DecodeError: Protobuf cannot parse the bytes.
    """
    data = bytes(data)
    if len(data) > FEW_FIELDS_BYTES:
        check_field_count(message, data, where, most_fields)
    return message.FromString(data)


def check_field_count(
    message: type[Message], data: bytes, where: str = "request", most_fields: int = MAX_FIELDS
) -> None:
    """Counts the fields of a message that is not parsed yet, and refuses too many.

    Raises:
        FieldError: See `parse`.
    """
    try:
        count = _count(data, 0, len(data), _nested(message.DESCRIPTOR), where, most_fields)
    except IndexError:
        raise FieldError(where, "expected a message of the contract, got one that is cut off") from None
    if count > most_fields:
        raise FieldError(where, f"expected at most {most_fields} fields, got more")


def _count(data: bytes, position: int, end: int, nested: Mapping[int, Descriptor | None], where: str, most: int) -> int:
    """An upper bound of the number of fields from a position on. Counting stops once there are too many.

    This is one function, since calls would take most of the time.
    """
    count = 0
    while position < end and count <= most:
        count += 1
        key, position = data[position], position + 1
        if key >= 0x80:
            key, position = read_varint(data, position - 1, where, MAX_PREFIX_BYTES)
        number, kind = key >> 3, key & 7
        if kind == LENGTH_DELIMITED:
            length, position = data[position], position + 1
            if length >= 0x80:
                length, position = read_varint(data, position - 1, where, MAX_PREFIX_BYTES)
            if number in nested:
                inner = nested[number]
                if inner is None:
                    count += length
                elif length <= UNCOUNTED_BYTES:
                    count += length // 2
                else:
                    count += _count(data, position, min(end, position + length), _nested(inner), where, most)
            position += length
        elif kind == VARINT:
            _, position = read_varint(data, position, where)
        else:
            position += FIXED_BYTES.get(kind, 0)  # a group's fields are counted as fields of the message around it
    return count


@cache
def _nested(message: Descriptor) -> Mapping[int, Descriptor | None]:
    """Fields with nested content, by their numbers: the message type, or None for elements that may be packed."""
    return {field.number: field.message_type for field in message.fields if field.message_type or _may_be_packed(field)}


def _may_be_packed(field: FieldDescriptor) -> bool:
    return field.is_repeated and field.cpp_type != FieldDescriptor.CPPTYPE_STRING
