"""Writes and reads slabs as messages of a stream by hand, since protobuf would copy them four times on their way.

Any protobuf library can read these messages, and messages of any protobuf library can be read here. The writer puts tag
and length before a view of the array and joins the parts once. The reader walks the tags and returns the payload as a
view of the received bytes. Every written payload starts at a multiple of `ALIGNMENT` bytes. Headers and summaries are
small and have many fields, so protobuf writes and reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import MAX_FIELDS, parse
from losswire.wire import LENGTH_DELIMITED, VARINT, read_fields, tag, varint

MessageT = TypeVar("MessageT", bound=Message)

ALIGNMENT = 16  # of bytes objects in memory, in CPython on 64-bit platforms: no payload can be aligned to more


@dataclass(frozen=True)
class SlabFrame:
    """A message that carries a ``Slab`` or a ``ResultSlab``.

    Attributes:
        first_row: Number of the first row.
        row_count: Rows in this slab.
        payloads: Elements of tensors, by the names of their fields; the views keep the received bytes alive.
        unknown: Numbers of fields that are not in this version of the contract.
    """

    first_row: int
    row_count: int
    payloads: Mapping[str, memoryview]
    unknown: tuple[int, ...] = ()


class Frames(Generic[MessageT]):
    """Writes and reads the messages of one side of a stream. A message has either a slab or a ``whole`` message.

    Args:
        message: The type of the messages, with a oneof of ``slab`` and one other field.
        slab: The type of the slab.
        whole: The type of the other field.
        of_any_size: Whether the other message may have any number of fields, since its writer is trusted.
    """

    def __init__(
        self, message: type[Message], slab: type[Message], whole: type[MessageT], *, of_any_size: bool = False
    ) -> None:
        self._whole = whole
        self._of_any_size = of_any_size
        self._parts = {(field.number, LENGTH_DELIMITED): field.name for field in message.DESCRIPTOR.fields}
        self._slab_tag = tag(message.DESCRIPTOR.fields_by_name["slab"].number, LENGTH_DELIMITED)
        fields = slab.DESCRIPTOR.fields_by_name
        self._padding_tag = tag(fields["padding"].number, LENGTH_DELIMITED)
        self._number_tags = [tag(fields[name].number, VARINT) for name in ("first_row", "row_count")]
        wire_types = {FieldDescriptor.TYPE_INT64: VARINT, FieldDescriptor.TYPE_BYTES: LENGTH_DELIMITED}
        self._known = {(field.number, wire_types[field.type]): name for name, field in fields.items()}
        self._payload_tags = {name: tag(number, kind) for (number, kind), name in self._known.items() if kind}

    def write(self, first_row: int, row_count: int, payloads: Mapping[str, memoryview]) -> bytes:
        """The message of a slab. Payloads are views of bytes, in the order in which they are to be written."""
        width = len(varint(sum(map(len, payloads.values()))))
        parts, length = self._body(first_row, row_count, payloads, len(self._slab_tag) + width)
        if len(varint(length)) > width:  # the rest of the slab made its length one byte longer
            width += 1
            parts, length = self._body(first_row, row_count, payloads, len(self._slab_tag) + width)
        return b"".join((self._slab_tag, varint(length, width), *parts))

    def _body(
        self, first_row: int, row_count: int, payloads: Mapping[str, memoryview], start: int
    ) -> tuple[list[bytes | memoryview], int]:
        """The parts of a slab that starts at byte ``start`` of the message, and their length."""
        numbers = zip(self._number_tags, (first_row, row_count), strict=True)
        parts: list[bytes | memoryview] = [prefix + varint(number) for prefix, number in numbers if number]
        position = start + sum(map(len, parts))
        for name, payload in payloads.items():
            prefix = self._aligned(self._payload_tags[name] + varint(len(payload)), position)
            parts += (prefix, payload)
            position += len(prefix) + len(payload)
        return parts, position - start

    def read(self, data: bytes) -> SlabFrame | MessageT:
        """The slab or the whole message that a message carries.

        Raises:
            FieldError: The bytes are not a message of the contract, or contradict themselves.
            DecodeError: Protobuf cannot parse the bytes.
        """
        fields = read_fields(memoryview(data), "part", MAX_FIELDS)
        parts = [(self._parts.get((number, kind)), value) for number, kind, value in fields]
        name, value = parts[0] if len(parts) == 1 else (None, 0)
        if name is None or not isinstance(value, memoryview):
            names, came = " and ".join(self._parts.values()), [name or "an unknown field" for name, _ in parts]
            raise FieldError("part", f"expected exactly one of {names}, got {' and '.join(came) or 'nothing'}")
        if name == "slab":
            return self._read_slab(value)
        return self._whole.FromString(bytes(value)) if self._of_any_size else parse(self._whole, value, name)

    def _read_slab(self, data: memoryview) -> SlabFrame:
        numbers = {"first_row": 0, "row_count": 0}
        payloads: dict[str, memoryview] = {}
        unknown = []
        for number, kind, value in read_fields(data, "slab", MAX_FIELDS):
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
        """A payload's tag and length, after the padding that aligns the payload."""
        gap = -(position + len(prefix)) % ALIGNMENT
        if not gap:
            return prefix
        gap += ALIGNMENT if gap < 2 else 0  # the padding's own tag and length take two bytes
        return self._padding_tag + bytes((gap - 2,)) + bytes(gap - 2) + prefix


REQUESTS: Frames[v1.EvaluateRequest] = Frames(v1.EvaluateStreamRequest, v1.Slab, v1.EvaluateRequest)
RESPONSES: Frames[v1.EvaluateResponse] = Frames(
    v1.EvaluateStreamResponse,
    v1.ResultSlab,
    v1.EvaluateResponse,
    of_any_size=True,  # the exact sums of many classes
)
