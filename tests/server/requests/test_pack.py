"""Requests in a pack: each ends as it would alone, whatever the other requests are."""

import math
from collections.abc import Iterable

import pytest
import torch
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import parse
from losswire_server.errors import NotServedError, to_rpc_status
from losswire_server.memory.regions import OFF
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.encoding import elements
from losswire_server.requests.pack import Pack, cut
from losswire_server.requests.planned import Planned, Step
from tests.proto.wire import LENGTH_DELIMITED, VARINT, field
from tests.server.evaluating import evaluate
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
    finish(pack.plan())
    return list(v1.BatchEvaluateResponse.FromString(pack.answer()).results)


def finish(steps: Iterable[Step]) -> None:
    """Evaluates what is planned, as the desk does."""
    for step in steps:
        if isinstance(step, Planned):
            try:
                step.at_once()
            except Exception as error:  # noqa: BLE001
                finish(step.failed(error))


def ending(result: v1.EvaluateResult) -> bytes:
    if result.HasField("response"):
        return settled(result.response)
    return result.failure.SerializeToString()


@given(companies())
def test_pack_has_the_bytes_of_single_calls(messages):
    assert [ending(result) for result in results(messages)] == [alone(message) for message in messages]


@pytest.fixture
def evaluated(monkeypatch):
    """How many requests are evaluated together, each time."""

    def spy(slab):
        sizes.append(slab.request_count)
        return evaluate_slab(slab)

    sizes: list[int] = []
    evaluate_slab = ce_engine.evaluate
    monkeypatch.setattr(ce_engine, "evaluate", spy)
    return sizes


def test_alike_requests_are_evaluated_together(evaluated):
    requests = [small(seed, series=series) for seed in range(5) for series in ("a", "b")]
    assert all(result.response.row_count == 32 for result in results(requests))
    assert evaluated == [5, 5]


def test_wrong_request_takes_few_apart(evaluated):
    requests = [small(seed) for seed in range(64)]
    requests[17].target.data = b"\xff" * len(requests[17].target.data)
    assert [result.HasField("failure") for result in results(requests)] == [number == 17 for number in range(64)]
    assert sorted(evaluated) == [1, 2, 4, 8, 16, 32]


def test_failing_groups_are_evaluated_alone(monkeypatch):
    def fail(slab):
        if slab.request_count > 1:
            raise MemoryError
        alone.append(slab)
        return evaluate_slab(slab)

    alone: list[ce_engine.Slab] = []
    evaluate_slab = ce_engine.evaluate
    monkeypatch.setattr(ce_engine, "evaluate", fail)
    assert all(result.response.row_count == 32 for result in results([small(seed) for seed in range(5)]))
    assert len(alone) == 5


def test_failing_request_fails_alone(monkeypatch):
    def fail(slab):
        if slab.row_count == 3:
            raise MemoryError
        return evaluate_slab(slab)

    evaluate_slab = ce_engine.evaluate
    monkeypatch.setattr(ce_engine, "evaluate", fail)
    codes = [result.failure.code for result in results([small(), small(rows=3), small(rows=4)])]
    assert codes == [code_pb2.OK, code_pb2.INTERNAL, code_pb2.OK]


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
