"""Slabs as messages of a stream, which protobuf would copy four times on their way, written and read by hand.

Any protobuf reads what is written here, and what any protobuf writes is read here: tag and length of a payload are put
before a view of the array, and both are joined once; on arrival the tags are walked and the payload is a view of what
came. Every payload that is written starts at a multiple of `ALIGNMENT` bytes. Headers and summaries, which are small
and rich, are left to protobuf.

Encoding: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from losswire import v1
from losswire.tensors import FieldError

MessageT = TypeVar("MessageT", bound=Message)

ALIGNMENT = 16  # of received bytes in memory, in CPython on 64-bit platforms: no payload can be aligned to more
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
MAX_PREFIX_BYTES = 5  # of a tag or a length, which have 32 bits
MAX_FIELD_NUMBER = 2**29 - 1
MAX_FIELDS = 1000  # of a message and of a slab; no more than ten have a meaning, and reading millions takes seconds


@dataclass(frozen=True)
class SlabFrame:
    """A message that carries a ``Slab`` or a ``ResultSlab``.

    Attributes:
        first_row: Number of the first row.
        row_count: Rows in this slab.
        payloads: Elements of tensors, by the names of their fields; the views keep alive what they were read from.
        unknown: Numbers of fields that are not in this version of the contract.
    """

    first_row: int
    row_count: int
    payloads: Mapping[str, memoryview]
    unknown: tuple[int, ...] = ()


class Frames(Generic[MessageT]):
    """Writes and reads the messages of one side of a stream: each a slab, or one ``whole`` message.

    Args:
        message: The type of the messages, with a oneof of ``slab`` and one other field.
        slab: The type of the slab.
        whole: The type of that other field.
    """

    def __init__(self, message: type[Message], slab: type[Message], whole: type[MessageT]) -> None:
        self._whole = whole
        self._parts = {(field.number, LENGTH_DELIMITED): field.name for field in message.DESCRIPTOR.fields}
        self._slab_tag = _tag(message.DESCRIPTOR.fields_by_name["slab"].number, LENGTH_DELIMITED)
        fields = slab.DESCRIPTOR.fields_by_name
        self._padding_tag = _tag(fields["padding"].number, LENGTH_DELIMITED)
        self._number_tags = [_tag(fields[name].number, VARINT) for name in ("first_row", "row_count")]
        wire_types = {FieldDescriptor.TYPE_INT64: VARINT, FieldDescriptor.TYPE_BYTES: LENGTH_DELIMITED}
        self._known = {(field.number, wire_types[field.type]): name for name, field in fields.items()}
        self._payload_tags = {name: _tag(number, kind) for (number, kind), name in self._known.items() if kind}

    def write(self, first_row: int, row_count: int, payloads: Mapping[str, memoryview]) -> bytes:
        """The message of a slab. Payloads are views of bytes, in the order in which they are to be written."""
        width = len(_varint(sum(map(len, payloads.values()))))
        parts, length = self._body(first_row, row_count, payloads, len(self._slab_tag) + width)
        if len(_varint(length)) > width:  # the rest of the slab tipped the scales, by one byte at most
            width += 1
            parts, length = self._body(first_row, row_count, payloads, len(self._slab_tag) + width)
        return b"".join((self._slab_tag, _varint(length, width), *parts))

    def _body(
        self, first_row: int, row_count: int, payloads: Mapping[str, memoryview], start: int
    ) -> tuple[list[bytes | memoryview], int]:
        """The parts of a slab that starts at so many bytes into the message, and their length."""
        numbers = zip(self._number_tags, (first_row, row_count), strict=True)
        parts: list[bytes | memoryview] = [tag + _varint(number) for tag, number in numbers if number]
        position = start + sum(map(len, parts))
        for name, payload in payloads.items():
            prefix = self._aligned(self._payload_tags[name] + _varint(len(payload)), position)
            parts += (prefix, payload)
            position += len(prefix) + len(payload)
        return parts, position - start

    def read(self, data: bytes) -> SlabFrame | MessageT:
        """What a message carries.

        Raises:
            FieldError: It is no message of the contract, or contradicts itself.
            DecodeError: As before, found by protobuf.
        """
        fields = _fields(memoryview(data), "part")
        parts = [(self._parts.get((number, kind)), value) for number, kind, value in fields]
        name, value = parts[0] if len(parts) == 1 else (None, 0)
        if name is None or not isinstance(value, memoryview):
            names, came = " and ".join(self._parts.values()), [name or "an unknown field" for name, _ in parts]
            raise FieldError("part", f"expected exactly one of {names}, got {' and '.join(came) or 'nothing'}")
        return self._read_slab(value) if name == "slab" else self._whole.FromString(bytes(value))

    def _read_slab(self, data: memoryview) -> SlabFrame:
        numbers = {"first_row": 0, "row_count": 0}
        payloads: dict[str, memoryview] = {}
        unknown = []
        for number, kind, value in _fields(data, "slab"):
            name = self._known.get((number, kind))
            if name is None:
                unknown.append(number)
            elif name == "padding":
                continue
            elif name in payloads:
                raise FieldError(f"slab.{name}", "expected it at most once, got it again")
            elif isinstance(value, memoryview):
                payloads[name] = value
            else:
                numbers[name] = value - 2**64 if value >= 2**63 else value
        return SlabFrame(numbers["first_row"], numbers["row_count"], payloads, tuple(unknown))

    def _aligned(self, prefix: bytes, position: int) -> bytes:
        """A payload's tag and length, behind so much padding that the payload is aligned."""
        gap = -(position + len(prefix)) % ALIGNMENT
        if not gap:
            return prefix
        gap += ALIGNMENT if gap < 2 else 0  # tag and length of the padding itself take two bytes
        return self._padding_tag + bytes((gap - 2,)) + bytes(gap - 2) + prefix


def _fields(data: memoryview, where: str) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field, in the order in which they come."""
    position = count = 0
    while position < len(data):
        count += 1
        if count > MAX_FIELDS:
            raise FieldError(where, f"expected at most {MAX_FIELDS} fields, got more")
        tag, position = _read_varint(data, position, where, MAX_PREFIX_BYTES)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= MAX_FIELD_NUMBER:
            raise FieldError(where, f"expected fields of numbers 1 to {MAX_FIELD_NUMBER}, got {number}")
        if kind == VARINT:
            value, position = _read_varint(data, position, where)
            yield number, kind, value
            continue
        if kind == LENGTH_DELIMITED:
            length, position = _read_varint(data, position, where, MAX_PREFIX_BYTES)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise FieldError(where, f"expected wire types 0, 1, 2 and 5, got {kind}")
        if length > len(data) - position:
            raise FieldError(where, f"expected {length} bytes of field {number}, got {len(data) - position}")
        yield number, kind, data[position : position + length]
        position += length


def _read_varint(data: memoryview, position: int, where: str, max_bytes: int = MAX_VARINT_BYTES) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[position : position + max_bytes]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & 2**64 - 1, position + shift + 1
    raise FieldError(where, f"expected a varint at byte {position}, got none that ends")


def _varint(value: int, width: int = 1) -> bytes:
    """In as few bytes as it takes, but at least `width`."""
    encoded = bytearray()
    while value >= 0x80 or len(encoded) < width - 1:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


REQUESTS: Frames[v1.EvaluateRequest] = Frames(v1.EvaluateStreamRequest, v1.Slab, v1.EvaluateRequest)
RESPONSES: Frames[v1.EvaluateResponse] = Frames(v1.EvaluateStreamResponse, v1.ResultSlab, v1.EvaluateResponse)
