"""Requests in a pack: each ends as it would alone, whatever the other requests are."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import losswire_server.requests.pack
from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import parse
from losswire_server.errors import NotServedError, to_rpc_status
from losswire_server.memory.regions import OFF
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.encoding import elements
from losswire_server.requests.one import evaluate
from losswire_server.requests.pack import Pack, cut
from tests.proto.wire import LENGTH_DELIMITED, VARINT, field
from tests.server.packs import SPOILERS, alike, packed, small


@st.composite
def companies(draw):
    """Requests of several kinds, some of them wrong, and bytes that are no request."""
    families = draw(st.lists(alike(), min_size=1, max_size=3))
    requests = [request for family in families for request in family]
    for request in requests:
        if draw(st.integers(0, 3)) == 0:
            draw(st.sampled_from(SPOILERS))(request)
    messages = [request.SerializeToString() for request in requests]
    return draw(st.permutations([*messages, *draw(st.lists(st.sampled_from([b"", b"\xff\xff"]), max_size=1))]))


def alone(data: bytes) -> bytes:
    """The bytes of the answer or the error of `Evaluate`."""
    try:
        return settled(evaluate(parse(v1.EvaluateRequest, data), OFF))
    except Exception as error:  # noqa: BLE001
        status: bytes = to_rpc_status(error).SerializeToString()
        return status


def settled(response: v1.EvaluateResponse) -> bytes:
    """The bytes of a response, with the same sign and payload for all NaNs, since these may vary."""
    for own, value in response.ListFields():
        if own.message_type is not None and value.dtype != v1.Dtype.DTYPE_INT64:
            tensor = to_torch(value, own.name)
            value.data = elements(torch.where(tensor.isnan(), math.nan, tensor)).tobytes()
        elif own.message_type is None and math.isnan(value):
            setattr(response, own.name, math.nan)
    return response.SerializeToString()


def results(requests) -> list[v1.EvaluateResult]:
    pack = Pack(packed(requests), 256, OFF)
    for _ in pack.evaluate():
        pass
    return list(v1.BatchEvaluateResponse.FromString(pack.answer()).results)


def ending(result: v1.EvaluateResult) -> bytes:
    if result.HasField("response"):
        return settled(result.response)
    return result.failure.SerializeToString()


@given(companies())
def test_pack_has_the_bytes_of_single_calls(messages):
    assert [ending(result) for result in results(messages)] == [alone(message) for message in messages]


@pytest.fixture
def evaluated_alone(monkeypatch):
    """The series of requests that are evaluated alone, in order."""

    def spy(request, regions):
        series.append(request.series)
        return evaluate(request, regions)

    series: list[str] = []
    monkeypatch.setattr(losswire_server.requests.pack, "evaluate", spy)
    return series


def test_alike_requests_are_evaluated_together(evaluated_alone):
    requests = [small(seed, series=series) for seed in range(5) for series in ("a", "b")]
    assert all(result.response.row_count == 32 for result in results(requests))
    assert evaluated_alone == []


def test_wrong_request_takes_few_apart(evaluated_alone):
    requests = [small(seed) for seed in range(64)]
    requests[17].target.data = b"\xff" * len(requests[17].target.data)
    assert [result.HasField("failure") for result in results(requests)] == [number == 17 for number in range(64)]
    assert len(evaluated_alone) == 2


def test_failing_groups_are_evaluated_alone(evaluated_alone, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(losswire_server.requests.pack, "evaluate_alike", fail)
    assert all(result.response.row_count == 32 for result in results([small(seed) for seed in range(5)]))
    assert len(evaluated_alone) == 5


def test_requests_of_protobuf_are_cut():
    requests = [small(rows=rows) for rows in (0, 1, 100)]
    data = v1.BatchEvaluateRequest(requests=requests).SerializeToString()
    assert [bytes(request) for request in cut(data, 3)] == [request.SerializeToString() for request in requests]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "requests: expected at least one, got none"),
        (packed([b""] * 4), "requests: expected at most 3, got more"),
        (packed([b""]) + b"\x0a\x05abc", "request: expected 5 bytes of field 1, got 3"),
        (b"\x0a", "request: expected a varint at byte 1, got none that ends"),
    ],
)
def test_wrong_number_of_requests_is_refused(data, problem):
    with pytest.raises(FieldError) as raised:
        cut(data, 3)
    assert str(raised.value) == problem


@pytest.mark.parametrize("unknown", [field(2, LENGTH_DELIMITED, b"abc"), field(1, VARINT, 1)])
def test_unknown_field_of_a_pack_is_refused(unknown):
    with pytest.raises(NotServedError, match="does not know its field number"):
        cut(packed([small()]) + unknown, 3)
