"""A request whose head is not held is told so before anything is done for it, in every transport."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from tests.helpers import call_of, serving
from tests.server.calls.heads.served import heads_of, hold, holding, message_of, outputs, states
from tests.server.calls.raw_streams import Batch, RawStream, connection
from tests.server.packs import small

HEAD = message_of()
ABSENT = "0" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with holding(HEAD, "held") as server:
        yield server


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    with connection(server) as channel:
        yield channel


def not_found(error: grpc.RpcError) -> str:
    """The head that an error says is missing."""
    call = call_of(error)
    assert call.code() is grpc.StatusCode.FAILED_PRECONDITION, error
    return subject_of(rpc_status.from_call(call))


def subject_of(status: Any) -> str:
    info, failure = error_details_pb2.ErrorInfo(), error_details_pb2.PreconditionFailure()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.reason == "HEAD_NOT_FOUND"
    assert any(detail.Unpack(failure) for detail in status.details)
    (violation,) = failure.violations
    assert violation.type == "HEAD_NOT_FOUND"
    return str(violation.subject)


@pytest.mark.parametrize("name", [ABSENT, "no-alias"])
def test_unary_call_names_the_head(channel, name):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.Evaluate(states(name).request)
    assert not_found(error.value) == name


def test_stream_is_told_before_any_slab(channel):
    stream = RawStream(channel).send(states(ABSENT).header())  # and no slab
    assert not_found(stream.error()) == ABSENT


def test_other_requests_of_a_pack_are_answered(channel):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    requests = [small(), states(ABSENT).request, states("held").request]
    first, absent, held = stub.BatchEvaluate(v1.BatchEvaluateRequest(requests=requests)).results
    assert first.response.row_count == 32
    assert held.response.row_count == 60
    assert subject_of(absent.failure) == ABSENT


def test_wrong_form_is_told_first(channel):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    request = states(ABSENT).request
    request.target.shape[0] = 7
    with pytest.raises(grpc.RpcError) as error:
        stub.Evaluate(request)
    assert call_of(error.value).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_server_without_heads_does_not_serve_them():
    with serving(allow_head_registration=False) as server, connection(server) as channel:
        stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
        for name in (ABSENT, "no-alias"):
            with pytest.raises(grpc.RpcError) as error:
                stub.Evaluate(states(name).request)
            assert call_of(error.value).code() is grpc.StatusCode.UNIMPLEMENTED


def test_deleted_head_is_not_remembered(server, channel):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    name = hold(server, message_of(seed=1), "leaving")
    for _ in range(3):  # a form that came twice is remembered
        assert stub.Evaluate(states("leaving", (2,)).request).row_count == 2
    heads_of(server).delete(name)
    for gone in (name, "leaving"):
        with pytest.raises(grpc.RpcError) as error:
            stub.Evaluate(states(gone, (2,)).request)
        assert not_found(error.value) == gone


def test_moved_alias_is_another_head(server, channel):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    one, other = (hold(server, message_of(seed=seed)) for seed in (2, 3))
    answers = {}
    for name in (one, other, one):
        heads_of(server).set_alias("moving", name)
        answers[name] = stub.Evaluate(states("moving", (2,)).request).loss_sum
        assert answers[name] == stub.Evaluate(states(name, (2,)).request).loss_sum
    assert answers[one] != answers[other]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("input", {}, "input"),
    ("target", {"probable": True}, "target"),
    ("classes", {"outputs": v1.OutputSpec(top_k=38)}, "outputs.top_k"),
]


def refused(channel: grpc.Channel, batch: Batch, way: str) -> grpc.RpcError:
    if way == "stream":
        return RawStream(channel).send(batch.header()).error()  # and no slab
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    with pytest.raises(grpc.RpcError) as error:
        stub.Evaluate(batch.request)
    return error.value


@pytest.mark.parametrize("way", ["unary", "stream"])
@pytest.mark.parametrize(("kind", "options", "field"), WRONG)
def test_head_of_other_sizes_is_told_by_field(server, channel, way, kind, options, field):
    classes, width = {"input": (37, 5), "target": (36, 6), "classes": (37, 6)}[kind]
    batch = states(hold(server, message_of(classes, width, seed=9)), **options)
    call = call_of(refused(channel, batch, way))
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in rpc_status.from_call(call).details)
    assert bad.field_violations[0].field == field


def test_sums_by_class_are_limited_by_the_head(server, channel):
    stub: Any = loss_service_pb2_grpc.LossServiceStub(channel)
    request = states(hold(server, message_of(10_001)), (2,), outputs=outputs(top_k=0)).request
    request.exact.by_class = True
    with pytest.raises(grpc.RpcError, match="at most 10000 classes"):
        stub.Evaluate(request)
