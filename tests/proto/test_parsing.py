"""Messages of many fields are counted before protobuf parses them. No right message is refused for this."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS
from losswire.parsing import MAX_FIELDS, parse
from losswire.tensors import MAX_DIMENSIONS
from tests.proto.wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, field, varint

TOO_MANY = f"expected at most {MAX_FIELDS} fields, got more"
MANY = 7_000_000  # of 3 bytes each


def tensor(dimensions: int = 2, data: bytes = b"") -> v1.Tensor:
    return v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[2**40] * (dimensions > 0) + [1] * (dimensions - 1), data=data)


def within(path: list[int], data: bytes) -> bytes:
    """A request with these bytes in the message at this path of field numbers."""
    for number in reversed(path):
        data = field(number, LENGTH_DELIMITED, data)
    return data


class Unparsed:
    """A message that must not be parsed: a flood takes half a second to parse, and 20 to list unknown fields."""

    DESCRIPTOR = v1.EvaluateRequest.DESCRIPTOR

    @staticmethod
    def FromString(data: bytes) -> v1.EvaluateRequest:  # noqa: N802 - protobuf's name
        raise AssertionError(f"{len(data)} bytes were parsed")


FLOODS = {
    "unknown numbers": b"\xf8\x7f\x01" * MANY,
    "unknown fixed32": field(99, FIXED32, bytes(4)) * (MANY // 2),
    "unknown fixed64": field(99, FIXED64, bytes(8)) * (MANY // 4),
    "unknown bytes": field(99, LENGTH_DELIMITED, b"") * MANY,
    "unknown groups": (varint(99 << 3 | 3) + varint(99 << 3 | 4)) * (MANY // 2),
    "specs": field(1, LENGTH_DELIMITED, b"") * MANY,
    "full specs": field(1, LENGTH_DELIMITED, b"\x08\x01" * 200) * (MANY // 100),
    "in the spec": within([1], b"\xf8\x7f\x01" * MANY),
    "in a class weight": within([1, 3, 1], b"\xf8\x7f\x01" * MANY),
    "in the target": within([4], b"\xf8\x7f\x01" * MANY),
    "in shared memory": within([15, 3], b"\xf8\x7f\x01" * MANY),
    "in the incoming gradient": within([2, 1, 1], b"\xf8\x7f\x01" * MANY),
    "packed dimensions": within([15, 2], b"\x01" * MANY),
    "dimensions": within([15], b"\x10\x01" * MANY),
    "packed outputs": within([2, 2], b"\x02" * MANY),
    "outputs": within([2], b"\x10\x02" * MANY),
    "behind a payload": within([15], field(15, LENGTH_DELIMITED, bytes(2**20)) + b"\xf8\x7f\x01" * MANY),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_flood_of_fields_is_refused(flood):
    with pytest.raises(FieldError, match=f"^request: {TOO_MANY}$"):
        parse(Unparsed, flood)  # type: ignore[type-var]
    with pytest.raises(FieldError, match=f"^header: {TOO_MANY}$"):
        REQUESTS.read(field(1, LENGTH_DELIMITED, flood))


@pytest.mark.parametrize("large", [0, 10**6])
def test_request_of_every_field_is_parsed(large):
    request = v1.EvaluateRequest(series="a" * 64, target=tensor(64), sample_weight=tensor(64), input=tensor(64))
    request.spec.binary_cross_entropy_with_logits.weight.CopyFrom(tensor(64, bytes(large)))
    request.spec.binary_cross_entropy_with_logits.pos_weight.CopyFrom(tensor(64))
    request.outputs.outputs.extend(v1.Output.values())
    request.outputs.gradient.grad_output.CopyFrom(tensor(MAX_DIMENSIONS))
    request.outputs.gradient.destination.region_id = "a" * 100
    request.input.data = bytes(large)
    data = request.SerializeToString()
    assert parse(v1.EvaluateRequest, data) == parse(v1.EvaluateRequest, memoryview(data)) == request
    assert REQUESTS.read(field(1, LENGTH_DELIMITED, data)) == request


def test_few_unknown_fields_are_kept():
    data = field(15, LENGTH_DELIMITED, field(15, LENGTH_DELIMITED, bytes(10**5))) + field(99, VARINT, 1) * 9
    assert parse(v1.EvaluateRequest, data).SerializeToString() == data


def test_message_that_is_cut_off_is_refused():
    data = field(15, LENGTH_DELIMITED, field(15, LENGTH_DELIMITED, bytes(2**14)) + field(2, VARINT, 2**60))
    for end in (2**13 + 1, *range(len(data) - 12, len(data))):
        with pytest.raises((FieldError, DecodeError)):
            parse(v1.EvaluateRequest, data[:end])


@given(st.binary(max_size=40), st.integers(0, 400))
@example(b"\xff", 10**6)
@example(b"\x10\xff", 10**6)
def test_any_bytes_are_parsed_or_refused(pattern, times):
    data = field(15, LENGTH_DELIMITED, field(15, LENGTH_DELIMITED, bytes(2**14))) + pattern * times
    try:
        parsed = parse(v1.EvaluateRequest, data)
    except (FieldError, DecodeError):
        return
    assert parsed == v1.EvaluateRequest.FromString(data)
