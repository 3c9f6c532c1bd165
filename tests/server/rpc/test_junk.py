"""Messages full of fields, elements or nesting are refused soon, whatever carries them."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, VARINT, tag, varint
from losswire_server import Server
from tests.helpers import call_of, serving
from tests.server.calls.raw_streams import connection
from tests.server.rpc.test_service import request

MANY = 2_000_000
SECONDS = 5.0  # with room for a busy machine: it takes some milliseconds, and took seconds before fields were counted


def number(message: type[Message], name: str) -> int:
    return int(message.DESCRIPTOR.fields_by_name[name].number)


def field(message: type[Message], name: str, value: bytes) -> bytes:
    return long(number(message, name), value)


def long(number: int, value: bytes) -> bytes:
    return tag(number, LENGTH_DELIMITED) + varint(len(value)) + value


OUTPUT, DIMENSION = (number(v1.OutputSpec, "outputs"), number(v1.Tensor, "shape"))
NESTED = b""
for _ in range(10_000):
    NESTED = field(v1.EvaluateRequest, "outputs", NESTED)
JUNK = {
    "unknown fields": b"\xf8\x7f\x01" * MANY,
    "groups": b"\x0b" * MANY,
    "packed outputs": field(v1.EvaluateRequest, "outputs", long(OUTPUT, b"\x01" * MANY)),
    "outputs": field(v1.EvaluateRequest, "outputs", (tag(OUTPUT, VARINT) + b"\x01") * MANY),
    "few too many outputs": field(v1.EvaluateRequest, "outputs", long(OUTPUT, b"\x01" * 900)),
    "messages": field(v1.EvaluateRequest, "outputs", long(OUTPUT, b"\x01")) * MANY,
    "packed dimensions": field(v1.EvaluateRequest, "input", long(DIMENSION, b"\x01" * MANY)),
    "dimensions": field(v1.EvaluateRequest, "input", (tag(DIMENSION, VARINT) + b"\x01") * MANY),
    "few too many dimensions": field(v1.EvaluateRequest, "input", long(DIMENSION, b"\x01" * 900)),
    "nesting": NESTED,
    "a long name": field(v1.EvaluateRequest, "series", b"a" * MANY),
    "no text": field(v1.EvaluateRequest, "series", b"\xff" * MANY),
}
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def answered(server: Server, path: str, *messages: bytes) -> bytes:
    with connection(server) as channel:
        call: Any = channel.stream_stream("/losswire.v1.LossService/" + path)
        answer: bytes = list(call(iter(messages), timeout=60))[-1]
        return answer


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("carrier", ["Evaluate", "header", "slab"])
def test_junk_is_refused_soon(server, carrier, junk):
    data, header = request().SerializeToString() + JUNK[junk], request()
    header.input.ClearField("data")
    first = v1.EvaluateStreamRequest(header=header).SerializeToString()
    sent: dict[str, tuple[str, list[bytes]]] = {
        "Evaluate": ("Evaluate", [data]),
        "header": ("EvaluateStream", [field(v1.EvaluateStreamRequest, "header", data)]),
        "slab": ("EvaluateStream", [first, field(v1.EvaluateStreamRequest, "slab", data)]),
    }
    path, messages = sent[carrier]
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as raised:
        answered(server, path, *messages)
    assert call_of(raised.value).code() in REFUSED
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_a_pack_fails_alone(server, junk):
    good = request().SerializeToString()
    data = b"".join(field(v1.BatchEvaluateRequest, "requests", one) for one in (good, good + JUNK[junk]))
    start = time.monotonic()
    results = v1.BatchEvaluateResponse.FromString(answered(server, "BatchEvaluate", data)).results
    assert results[0].response.row_count == 2
    assert results[1].failure.code in {code.value[0] for code in REFUSED}
    assert time.monotonic() - start < SECONDS
