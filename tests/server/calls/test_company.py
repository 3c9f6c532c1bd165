"""A request has the same bits in any company: of other requests, in packs and streams, and with several workers."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.forms import ahead_of_input
from losswire.frames import RESPONSES
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.calls import work
from tests.helpers import serving
from tests.server.calls.raw_streams import Batch, RawStream, connection
from tests.server.evaluating import evaluate
from tests.server.packs import alike
from tests.server.requests.stream_requests import ALL, GRADIENT, MEAN, binary, classes, divergence, probabilities
from tests.server.requests.test_pack import settled


@pytest.fixture(scope="module")
def queueing() -> Iterator[grpc.Channel]:
    """A server whose launches are filled up, and that queues everything."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work, "AT_ONCE_SECONDS", 0)
        with serving(engine_workers=3, max_queue_delay_us=2000) as server, connection(server) as channel:
            yield channel


@given(families=st.lists(alike(), min_size=1, max_size=4))
@settings(max_examples=30)
def test_company_changes_no_bit(queueing, families):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(queueing)
    requests = [request for family in families for request in family]
    pack = stub.BatchEvaluate.future(v1.BatchEvaluateRequest(requests=requests))
    calls = [stub.Evaluate.future(request) for request in requests]
    expected = [settled(evaluate(request)) for request in requests]
    assert [settled(call.result(30)) for call in calls] == expected
    assert [settled(result.response) for result in pack.result(30).results] == expected


BATCHES: list[Batch] = [
    classes((60,), outputs=ALL),
    classes((5, 4, 3), outputs=ALL, reduction=MEAN),
    probabilities((20, 5), outputs=GRADIENT, reduction=MEAN),
    binary((6, 10), outputs=GRADIENT, reduction=MEAN),
    classes((60,), outputs=ALL, reduction=MEAN, z_loss=0.25),
    classes((5, 4, 3), outputs=ALL, reduction=MEAN, divisor=7.0),
    divergence(outputs=ALL, labelled=True),
    divergence((3, 4, 5, 5), outputs=ALL, reduction=MEAN, labelled=True),
    divergence((3, 20, 5), outputs=GRADIENT, reduction=MEAN, divergence=v1.Divergence.DIVERGENCE_JENSEN_SHANNON),
    divergence((60, 5), outputs=GRADIENT, named=2, tail=v1.Tail.TAIL_ONE_BIN, sample_weight=np.arange(60.0)),
]


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_streams_together_have_the_bits(queueing, rows):
    streams = []
    for batch in BATCHES * 2:
        ahead = list(filter(None, [ahead_of_input(batch.request, BY_WIRE[batch.request.target.dtype].name)]))
        messages = [slab for name in ahead for slab in batch.slabs(60, name)]
        messages += batch.slabs(rows, *(name for name in batch.open if name not in ahead))
        streams.append((batch, RawStream(queueing).send(batch.header(), *messages).end()))
    for batch, stream in streams:
        batch.check(queueing, [RESPONSES.read(message) for message in stream.call])
