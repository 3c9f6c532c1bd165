"""Bytes that are no slab, or a slab that contradicts itself, are refused and never taken for something else."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, SlabFrame
from losswire.parsing import MAX_FIELDS
from tests.proto.wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, field, varint

SLAB = v1.Slab(first_row=300, row_count=70000, padding=bytes(3), target=b"0123456789", input=bytes(range(40)))
MESSAGE = v1.EvaluateStreamRequest(slab=SLAB).SerializeToString()
HEADER = v1.EvaluateStreamRequest(
    header=v1.EvaluateRequest(series="train", input=v1.Tensor(shape=[1, 2**40]), target=v1.Tensor(data=b"123"))
).SerializeToString()


def as_slab(data: bytes) -> bytes:
    return field(2, LENGTH_DELIMITED, data)


@pytest.mark.parametrize("message", [MESSAGE, HEADER], ids=["slab", "header"])
def test_message_cut_off_anywhere_is_refused(message):
    for end in range(len(message)):
        with pytest.raises((FieldError, DecodeError)):
            REQUESTS.read(message[:end])


def test_slab_that_is_cut_off_is_refused():
    body = SLAB.SerializeToString()
    ends, position = {0}, 0
    for part in ("first_row", "row_count", "padding", "target", "input"):
        position += v1.Slab(**{part: getattr(SLAB, part)}).ByteSize()
        ends.add(position)
    assert position == len(body)
    for end in set(range(len(body))) - ends:
        with pytest.raises(FieldError, match=r"^slab: "):
            REQUESTS.read(as_slab(body[:end]))


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"", "part: expected exactly one of header and slab, got nothing"),
        (as_slab(b"") * 2, "part: expected exactly one of header and slab, got slab and slab"),
        (field(1, LENGTH_DELIMITED, b"") * 2, "got header and header"),
        (field(1, LENGTH_DELIMITED, b"") + as_slab(b""), "got header and slab"),
        (as_slab(b"") + field(9, VARINT, 1), "got slab and an unknown field"),
        (field(9, LENGTH_DELIMITED, b""), "got an unknown field"),
        (field(2, VARINT, 3), "got an unknown field"),
        (field(2, FIXED32, bytes(4)), "got an unknown field"),
        (field(1, FIXED64, bytes(8)), "got an unknown field"),
        (as_slab(field(15, LENGTH_DELIMITED, b"a") * 2), "slab.input: expected it at most once, got it again"),
        (as_slab(field(4, LENGTH_DELIMITED, b"") * 2), "slab.target: expected it at most once, got it again"),
        (as_slab(b"\x7a\x05abc"), "slab: expected 5 bytes of field 15, got 3"),
        (b"\x12\x05abc", "part: expected 5 bytes of field 2, got 3"),
        (as_slab(b"\x7a" + varint(2**31)), "slab: expected 2147483648 bytes of field 15, got 0"),
        (as_slab(b"\x7a" + varint(2**63)), "slab: expected a varint at byte 1, got none that ends"),
        (as_slab(b"\x7a" + varint(0, 5)), "slab: expected a varint at byte 1, got none that ends"),
        (as_slab(varint(15 << 3 | 2, 5) + b"\0"), "slab: expected a varint at byte 0, got none that ends"),
        (as_slab(b"\x02"), "slab: expected fields of numbers 1 to 536870911, got 0"),
        (as_slab(varint(2**29 << 3 | VARINT) + b"\0"), "got 536870912"),
        (as_slab(b"\x0b\x0c"), "slab: expected wire types 0, 1, 2 and 5, got 3"),
        (as_slab(b"\x0c"), "slab: expected wire types 0, 1, 2 and 5, got 4"),
        (as_slab(b"\x0e\0"), "got 6"),
        (as_slab(b"\x0f\0"), "got 7"),
        (b"\x0b\x0c", "part: expected wire types 0, 1, 2 and 5, got 3"),
        (as_slab(b"\x08" + b"\x80" * 10 + b"\x01"), "slab: expected a varint at byte 1, got none that ends"),
        (as_slab(b"\x80"), "slab: expected a varint at byte 0, got none that ends"),
        (as_slab(b"\x0d123"), "slab: expected 4 bytes of field 1, got 3"),
        (as_slab(b"\x091234567"), "slab: expected 8 bytes of field 1, got 7"),
        (as_slab(field(9, VARINT, 1) * (MAX_FIELDS + 1)), f"slab: expected at most {MAX_FIELDS} fields, got more"),
        (field(9, VARINT, 1) * (MAX_FIELDS + 1), f"part: expected at most {MAX_FIELDS} fields, got more"),
    ],
)
def test_contradictory_message_is_refused(message, problem):
    with pytest.raises(FieldError) as raised:
        REQUESTS.read(message)
    assert problem in str(raised.value)


def test_slab_of_the_most_fields_is_read():
    frame = REQUESTS.read(as_slab(field(9, VARINT, 1) * MAX_FIELDS))
    assert isinstance(frame, SlabFrame)
    assert frame.unknown == (9,) * MAX_FIELDS


def test_malformed_header_is_refused():
    for header in (b"\xff", b"\x0b", b"\x1a\x01\xff"):  # the last: a series that is no UTF-8
        with pytest.raises(DecodeError):
            REQUESTS.read(field(1, LENGTH_DELIMITED, header))


def mutated(message: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(message)
    for kind, place, value in edits:
        position = place % (len(data) + 1)
        if kind == "insert":
            data.insert(position, value)
        elif position < len(data) and kind == "delete":
            del data[position]
        elif position < len(data):
            data[position] = value
    return bytes(data)


edits = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "set"]), st.integers(0, 2**16), st.integers(0, 255)), max_size=4
)


def assert_agrees_with_protobuf(message: bytes) -> None:
    """Protobuf reads the same from every message that is accepted here. It may accept more messages."""
    try:
        read = REQUESTS.read(message)
    except (FieldError, DecodeError):
        return
    parsed = v1.EvaluateStreamRequest.FromString(message)
    if not isinstance(read, SlabFrame):
        assert parsed.header == read
        return
    assert (parsed.slab.first_row, parsed.slab.row_count) == (read.first_row, read.row_count)
    for name in ("target", "sample_weight", "weight", "grad_output", "input"):
        assert getattr(parsed.slab, name) == bytes(read.payloads.get(name, b""))


@given(st.sampled_from([MESSAGE, HEADER]), edits)
def test_mutations_are_read_as_by_protobuf(message, edits):
    assert_agrees_with_protobuf(mutated(message, edits))


@given(st.binary(max_size=60), st.booleans())
def test_garbage_is_read_as_by_protobuf(data, inside):
    assert_agrees_with_protobuf(as_slab(data) if inside else data)
