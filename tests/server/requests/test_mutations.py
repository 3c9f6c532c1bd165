"""Right requests with random changes: none causes a fault of the server, and the rest of a pack is answered."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from losswire import v1
from losswire.frames import REQUESTS
from losswire.wire import LENGTH_DELIMITED, tag, varint
from tests.helpers import serving
from tests.server.calls.raw_streams import connection
from tests.server.packs import alike, packed, small

PATH = "/losswire.v1.LossService/"
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**31, 2**61, 2**62, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1)
)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with serving(max_series=4) as server, connection(server) as connected:
        yield connected


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request of any kind with some fields or bytes changed."""
    request = draw(alike())[0]
    for _ in range(draw(st.integers(1, 4))):
        mutate(draw, request)
    data = bytearray(request.SerializeToString())
    for place in draw(st.lists(st.integers(0, len(data) + 2), max_size=2)):
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def mutate(draw: st.DrawFn, message: Message) -> None:
    """Changes a field of a message, or of a message within it."""
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    field: FieldDescriptor = draw(st.sampled_from(list(fields)))
    if field.message_type is not None and (message.HasField(field.name) or draw(st.booleans())):
        inner = getattr(message, field.name)
        inner.SetInParent()
        mutate(draw, inner)
    elif draw(st.integers(0, 3)) == 0:
        message.ClearField(field.name)
    else:
        change(draw, message, field)


def change(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    if field.is_repeated:
        values = getattr(message, field.name)
        bounds = st.integers(-(2**31), 2**31 - 1) if field.enum_type else NUMBERS
        del values[draw(st.integers(0, len(values))) :]
        values.extend(draw(st.lists(bounds, max_size=4)) * draw(st.sampled_from([1, 1, 1, 30, 10_000])))
    elif field.message_type is None:
        setattr(message, field.name, draw(values_of(field)))


def values_of(field: FieldDescriptor) -> st.SearchStrategy[object]:
    kinds = {
        FieldDescriptor.TYPE_INT64: NUMBERS,
        FieldDescriptor.TYPE_INT32: st.integers(-2, 300) | st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_ENUM: st.integers(-2, 12) | st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_DOUBLE: st.floats(),
        FieldDescriptor.TYPE_STRING: st.text(max_size=70),
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=64) | st.sampled_from([bytes(4096), b"\xff" * 4096]),
    }
    return kinds[field.type]


def ends(call: Callable[[], object]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def as_header(data: bytes) -> bytes:
    return tag(1, LENGTH_DELIMITED) + varint(len(data)) + data


def opened(data: bytes) -> bytes:
    """The same request without the elements of its input, if the bytes are a request."""
    try:
        request = v1.EvaluateRequest.FromString(data)
    except Exception:  # noqa: BLE001
        return data
    request.input.ClearField("data")
    return request.SerializeToString()


SLAB = REQUESTS.write(0, 2, {"input": memoryview(bytes(40))})


@settings(max_examples=15)
@given(data=mutated(), company=st.integers(0, 2))
def test_mutated_request_harms_nobody(channel, data, company):
    unary = ends(lambda: channel.unary_unary(PATH + "Evaluate")(data, timeout=20))
    assert unary is grpc.StatusCode.OK or unary in REFUSALS
    for messages in ([as_header(data)], [as_header(opened(data)), SLAB]):
        code = ends(lambda: list(channel.stream_stream(PATH + "EvaluateStream")(iter(messages), timeout=20)))  # noqa: B023
        assert code is grpc.StatusCode.OK or code in REFUSALS
    pack = packed([small(rows=2)] * company + [data] * 2 + [small(rows=2)])
    answer = v1.BatchEvaluateResponse.FromString(channel.unary_unary(PATH + "BatchEvaluate")(pack, timeout=20))
    *others, first, second, last = answer.results
    assert all(other.response.row_count == 2 for other in (*others, last))
    assert first.failure.code == second.failure.code == unary.value[0]
    assert first.failure.code != code_pb2.INTERNAL
