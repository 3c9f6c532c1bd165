"""Requests that come several in a call: each ends as it would alone, in any company."""

import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import losswire_server.requests.pack
from losswire import v1
from losswire.parsing import parse
from losswire_server.errors import to_rpc_status
from losswire_server.memory.regions import OFF
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.encoding import elements
from losswire_server.requests.one import evaluate
from losswire_server.requests.pack import Batch
from tests.server.batches import SPOILERS, alike, packed, small


@st.composite
def companies(draw):
    """Requests of several kinds, some of them spoiled, and bytes that are none."""
    families = draw(st.lists(alike(), min_size=1, max_size=3))
    requests = [request for family in families for request in family]
    for request in requests:
        if draw(st.integers(0, 3)) == 0:
            draw(st.sampled_from(SPOILERS))(request)
    messages = [request.SerializeToString() for request in requests]
    return draw(st.permutations([*messages, *draw(st.lists(st.sampled_from([b"", b"\xff\xff"]), max_size=1))]))


def alone(data: bytes) -> bytes:
    """The bytes of what `Evaluate` would answer, or end with."""
    try:
        return settled(evaluate(parse(v1.EvaluateRequest, data), OFF))
    except Exception as error:  # noqa: BLE001
        return to_rpc_status(error).SerializeToString()


def settled(response: v1.EvaluateResponse) -> bytes:
    """Its bytes, of which only the sign and payload of NaNs may vary."""
    for field, value in response.ListFields():
        if field.message_type is not None and value.dtype != v1.Dtype.DTYPE_INT64:
            tensor = to_torch(value, field.name)
            value.data = elements(torch.where(tensor.isnan(), math.nan, tensor)).tobytes()
        elif field.message_type is None and math.isnan(value):
            setattr(response, field.name, math.nan)
    return response.SerializeToString()


def results(requests) -> list[v1.EvaluateResult]:
    answer = Batch(packed(requests), 256, OFF).evaluate()
    return list(v1.BatchEvaluateResponse.FromString(answer.data).results)


def ending(result: v1.EvaluateResult) -> bytes:
    if result.HasField("response"):
        return settled(result.response)
    return result.failure.SerializeToString()


@given(companies())
def test_each_request_ends_with_the_bytes_that_it_ends_with_alone(messages):
    assert [ending(result) for result in results(messages)] == [alone(message) for message in messages]


@pytest.fixture
def evaluated_alone(monkeypatch):
    """The series of requests that are evaluated alone, as they come."""

    def spy(request, regions):
        series.append(request.series)
        return evaluate(request, regions)

    series = []
    monkeypatch.setattr(losswire_server.requests.pack, "evaluate", spy)
    return series


def test_alike_requests_are_evaluated_together(evaluated_alone):
    requests = [small(seed, series=series) for seed in range(5) for series in ("a", "b")]
    assert all(result.response.row_count == 32 for result in results(requests))
    assert evaluated_alone == []


def test_wrong_request_takes_few_of_those_that_are_like_it_apart(evaluated_alone):
    requests = [small(seed) for seed in range(64)]
    requests[17].target.data = b"\xff" * len(requests[17].target.data)
    assert [result.HasField("failure") for result in results(requests)] == [place == 17 for place in range(64)]
    assert len(evaluated_alone) == 2


def test_requests_that_cannot_be_evaluated_together_are_evaluated_alone(evaluated_alone, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(losswire_server.requests.pack, "evaluate_alike", fail)
    assert all(result.response.row_count == 32 for result in results([small(seed) for seed in range(5)]))
    assert len(evaluated_alone) == 5


def test_seconds_are_of_what_was_answered_and_add_up_to_what_it_took():
    requests = [small(seed, rows) for seed in range(10) for rows in (8, 16)]
    start = time.perf_counter()
    evaluated = Batch(packed([*requests, b"wrong"]), 256, OFF).evaluate().evaluated
    took = time.perf_counter() - start
    assert [len(together.responses) for together in evaluated] == [10, 10]
    assert 0 < sum(together.seconds for together in evaluated) < took


@pytest.mark.parametrize(
    ("requests", "short"),
    [
        ([small()] * 32, True),
        ([small(rows=rows) for rows in (1, 2, 3)], True),
        ([small(rows=rows) for rows in range(1, 33)], False),
        ([small(rows=1)] * 200, False),
        ([small(rows=1000)] * 5, False),
        ([small(), v1.EvaluateRequest(input=v1.Tensor(shape=[10**6], shared_memory={}))], False),
        ([small(), b"no request"], False),
        ([v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))], False),
        ([small(), *[v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))] * 2], False),
    ],
)
def test_message_is_short_if_few_alike_evaluations_of_few_elements_are_in_it(requests, short):
    assert Batch(packed(requests), 256, OFF).is_short is short
