"""Protobuf's wire format, for messages whose payloads protobuf itself must not touch.

Encoding: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from losswire.errors import FieldError

MESSAGE_BYTES_KEY = "losswire-message-bytes"  # of metadata: the size of a call's only message, if its caller tells it
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
MAX_PREFIX_BYTES = 5  # of a tag or a length, which has 32 bits
MAX_FIELD_NUMBER = 2**29 - 1


def read_fields(data: memoryview, where: str, max_fields: int) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field, in the order in which they come.

    Raises:
        FieldError: The bytes are not a message, or have too many fields. The error names `where` they are.
    """
    position = count = 0
    size = len(data)
    while position < size:
        count += 1
        if count > max_fields:
            raise FieldError(where, f"expected at most {max_fields} fields, got more")
        key = data[position]
        if key < 0x80:  # nearly all tags take one byte
            position += 1
        else:
            key, position = read_varint(data, position, where, MAX_PREFIX_BYTES)
        number, kind = key >> 3, key & 7
        if not 0 < number <= MAX_FIELD_NUMBER:
            raise FieldError(where, f"expected fields of numbers 1 to {MAX_FIELD_NUMBER}, got {number}")
        if kind == VARINT:
            value, position = read_varint(data, position, where)
            yield number, kind, value
            continue
        if kind == LENGTH_DELIMITED:
            length, position = read_varint(data, position, where, MAX_PREFIX_BYTES)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise FieldError(where, f"expected wire types 0, 1, 2 and 5, got {kind}")
        if length > size - position:
            raise FieldError(where, f"expected {length} bytes of field {number}, got {size - position}")
        yield number, kind, data[position : position + length]
        position += length


def read_varint(
    data: bytes | memoryview, position: int, where: str, max_bytes: int = MAX_VARINT_BYTES
) -> tuple[int, int]:
    """The number at a position, of up to 64 bits, and the position behind it.

    Raises:
        FieldError: The position has no number of at most `max_bytes` bytes.
    """
    if position < len(data) and (value := data[position]) < 0x80:  # nearly all varints take one byte
        return value, position + 1
    value = 0
    for shift, byte in enumerate(data[position : position + max_bytes]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & 2**64 - 1, position + shift + 1
    raise FieldError(where, f"expected a varint at byte {position}, got none that ends")


def varint(value: int, width: int = 1) -> bytes:
    """Encodes a number in as few bytes as possible, but at least `width`."""
    encoded = bytearray()
    while value >= 0x80 or len(encoded) < width - 1:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def tag(number: int, kind: int) -> bytes:
    """The bytes before the value of a field: its number and its wire type."""
    return varint(number << 3 | kind)
