"""Hidden states have the same bits in every transport, and their parts add up to them."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.frames import RESPONSES
from losswire.heads.content import digest
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.calls import work
from tests.server.calls.heads.served import CLASSES, MEAN, holding, message_of, outputs, states
from tests.server.calls.raw_streams import Batch, RawStream, connection
from tests.server.packs import small
from tests.server.requests.test_pack import settled

ALIAS = "of-tests"
HEAD = message_of()
DIGEST = digest(HEAD)


@pytest.fixture(scope="module")
def held() -> Iterator[grpc.Channel]:
    """A server that queues everything."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work, "AT_ONCE_SECONDS", 0)
        with holding(HEAD, ALIAS, engine_workers=3) as server, connection(server) as channel:
            yield channel


BATCHES: dict[str, Batch] = {
    "rows": states(ALIAS, outputs=outputs()),
    "mean": states(DIGEST, (5, 4, 3), outputs=outputs(), reduction=MEAN),
    "one row": states(ALIAS, (), outputs=outputs()),
    "probabilities": states(ALIAS, (20, 3), probable=True, outputs=outputs(probable=True), reduction=MEAN),
    "smoothed": states(ALIAS, label_smoothing=0.1, outputs=outputs(), reduction=MEAN),
    "ignored": states(ALIAS, ignore_index=3, outputs=outputs(), sample_weight=np.arange(60.0)),
}


@pytest.mark.parametrize("rows", [1, 7, 60])
@pytest.mark.parametrize("name", BATCHES)
def test_stream_has_the_bits_of_one_message(held, name, rows):
    batch = BATCHES[name]
    is_ahead = batch.request.spec.reduction == MEAN and batch.request.target.dtype == v1.Dtype.DTYPE_INT64
    messages = batch.slabs(60, "target") if is_ahead else []
    messages += batch.slabs(rows, *(each for each in batch.open if not (is_ahead and each == "target")))
    stream = RawStream(held).send(batch.header(), *messages).end()
    batch.check(held, [RESPONSES.read(message) for message in stream.call])


@pytest.mark.parametrize("rows", [1, 60])
def test_targets_in_the_header_need_no_plan_of_slabs(held, rows):
    batch = states(ALIAS, outputs=outputs(), reduction=MEAN)
    batch.open = ["input"]
    stream = RawStream(held).send(batch.header(), *batch.slabs(rows)).end()
    batch.check(held, [RESPONSES.read(message) for message in stream.call])


def test_pack_has_the_bits_of_each_message(held):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(held)
    requests = [batch.request for batch in BATCHES.values()] * 2 + [small()]
    expected = [settled(stub.Evaluate(request)) for request in requests]
    results = stub.BatchEvaluate(v1.BatchEvaluateRequest(requests=requests)).results
    assert [settled(result.response) for result in results] == expected


def test_parts_merge_to_the_whole(held):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(held)
    whole = states(ALIAS).request
    whole.exact.SetInParent()
    parts = []
    for first in range(0, 60, 20):
        part = v1.EvaluateRequest()
        part.CopyFrom(whole)
        for tensor, size in ((part.input, len(whole.input.data) // 60), (part.target, 8)):
            tensor.shape[0] = 20
            tensor.data = tensor.data[first * size : (first + 20) * size]
        parts.append(stub.Evaluate(part))
    answer = stub.Evaluate(whole)
    assert b"".join(part.loss.data for part in parts) == answer.loss.data
    assert sum(part.row_count for part in parts) == answer.exact.row_count


def test_outputs_have_the_classes_of_the_head(held):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(held)
    answer = stub.Evaluate(BATCHES["mean"].request)
    assert list(answer.probabilities.shape) == list(answer.log_probabilities.shape) == [5, 4, 3, CLASSES]
    assert list(answer.gradient.shape) == [5, 4, 3, 6]
    assert list(answer.top_classes.shape) == [5, 4, 3, 3]


def test_alias_is_as_good_as_a_digest(held):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(held)
    answers = [settled(stub.Evaluate(states(name, outputs=outputs()).request)) for name in (ALIAS, DIGEST)]
    assert answers[0] == answers[1]
