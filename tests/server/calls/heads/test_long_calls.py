"""A long call through a head lets others on, and ends soon when nobody waits for it."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import torch

import ce_engine
from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from losswire_server.calls import work
from tests.helpers import eventually, serving
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.heads.served import heads_of, hold, message_of, states
from tests.server.calls.raw_streams import connection, tensor

ROWS, LARGE, WIDTH = 12_000, 30_000, 128  # some seconds on one core
MAX_BYTES = 2**24


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that queues everything, and evaluates one part at a time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work, "AT_ONCE_SECONDS", 0)
        with serving(engine_workers=1, max_message_bytes=MAX_BYTES) as server:
            hold(server, message_of(), "small")
            large = ce_engine.Head(torch.zeros(LARGE, WIDTH))
            form = v1.Head(weight=v1.Tensor(shape=[LARGE, WIDTH]))
            heads_of(server).add("0" * 64, form, large, aliases=["large"])
            yield server


def long_request() -> v1.EvaluateRequest:
    request = v1.EvaluateRequest(spec=states("large").request.spec)
    request.spec.reduction = v1.Reduction.REDUCTION_SUM
    request.outputs.gradient.SetInParent()
    request.input.CopyFrom(tensor(np.zeros((ROWS, WIDTH), np.float32)))
    request.target.CopyFrom(tensor(np.zeros(ROWS, np.int64)))
    return request


@pytest.fixture
def evaluated(monkeypatch) -> list[int]:
    """How many rows were evaluated at a time."""
    rows: list[int] = []
    evaluate = ce_engine.cpu.evaluate

    def counting(kind: Any, input: torch.Tensor, *operands: Any, **options: Any) -> ce_engine.RowResults:
        rows.append(input.shape[0])
        return evaluate(kind, input, *operands, **options)

    replace_evaluation(monkeypatch, counting)
    return rows


def is_idle(server: Server) -> bool:
    return server._backend.admission.inflight_bytes == 0


def test_small_requests_are_served_meanwhile(server, evaluated):
    with connection(server) as channel, connection(server) as other:
        stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
        another: Any = loss_service_pb2_grpc.LossServiceStub(other)
        call = stub.Evaluate.future(long_request())
        eventually(lambda: bool(evaluated))
        for _ in range(3):
            assert another.Evaluate(states("small").request, timeout=20).row_count == 60
        assert not call.done()
        call.cancel()
        eventually(lambda: is_idle(server))


@pytest.mark.parametrize("leave", ["deadline", "cancel"])
def test_rest_is_not_computed_for_a_caller_who_left(server, evaluated, leave):
    with connection(server) as channel:
        stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
        call = stub.Evaluate.future(long_request(), timeout=1.0 if leave == "deadline" else None)
        eventually(lambda: bool(evaluated))
        if leave == "cancel":
            call.cancel()
        expected = grpc.StatusCode.DEADLINE_EXCEEDED if leave == "deadline" else grpc.StatusCode.CANCELLED
        eventually(call.done)
        assert call.code() is expected
        eventually(lambda: is_idle(server))
        assert 0 < sum(evaluated) < ROWS
        assert stub.Evaluate(states("small").request, timeout=20).row_count == 60
