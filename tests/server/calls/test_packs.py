"""Many requests in one call, as a caller in any language sees them."""

import gc
import weakref
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import ce_engine
import losswire_server.calls.work
from losswire import v1
from losswire_server.calls import packs
from losswire_server.calls.packs import PACK_COPIES
from losswire_server.requests.needed import needed_bytes
from tests.helpers import call_of, eventually, serving, total
from tests.present import present
from tests.replaced_evaluation import replace_evaluation
from tests.server.calls.gate import gated
from tests.server.memory.shared_memory import connected, leased
from tests.server.packs import packed, small

CALLS = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": "BatchEvaluate"}


@pytest.fixture(scope="module")
def server():
    """A server with no other callers, so that it counts only these tests' calls."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    with connected(f"127.0.0.1:{server.port}") as stub:
        yield stub


@pytest.fixture
def gate(monkeypatch):
    monkeypatch.setattr(losswire_server.calls.work, "AT_ONCE_SECONDS", 0)  # without this, short calls never wait
    with gated(monkeypatch) as gate:
        yield gate


def batch(*requests: v1.EvaluateRequest) -> v1.BatchEvaluateRequest:
    return v1.BatchEvaluateRequest(requests=requests)


def wrong() -> v1.EvaluateRequest:
    request = small()
    request.target.data = b"\xff" * len(request.target.data)
    return request


def refused(call) -> tuple[grpc.StatusCode, str]:
    """Code and text of a failed call."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), present(raised.value.details())


def value(server, name, **labels):
    return server.registry.get_sample_value(name, labels)


def inflight_bytes(server):
    return value(server, "losswire_inflight_bytes")


def test_pack_answers_in_order(stub):
    requests = [small(rows=rows) for rows in (3, 1, 2)] + [small(seed) for seed in range(5)]
    results = stub.BatchEvaluate(batch(*requests)).results
    assert [result.response for result in results] == [stub.Evaluate(request) for request in requests]


def test_wrong_request_harms_no_neighbour(stub):
    results = stub.BatchEvaluate(batch(small(1), wrong(), small(2))).results
    assert [result.WhichOneof("result") for result in results] == ["response", "failure", "response"]
    with pytest.raises(grpc.RpcError) as raised:
        stub.Evaluate(wrong())
    status = status_pb2.Status.FromString(results[1].failure.SerializeToString())
    assert status == rpc_status.from_call(call_of(raised.value))
    assert status.code == code_pb2.INVALID_ARGUMENT


def test_internal_fault_leaks_nothing(stub, monkeypatch, caplog):
    def fail(kind, input, *operands, **options):
        if len(input) == 1:
            raise RuntimeError("the secret is 42")
        return evaluate(kind, input, *operands, **options)

    evaluate = ce_engine.cpu.evaluate
    replace_evaluation(monkeypatch, fail)
    first, *others = stub.BatchEvaluate(batch(small(rows=1), small(1), small(2))).results
    assert all(other.response.row_count == 32 for other in others)
    assert first.failure.code == code_pb2.INTERNAL
    assert b"secret" not in first.failure.SerializeToString()
    info = error_details_pb2.ErrorInfo()
    assert first.failure.details[0].Unpack(info)
    assert info.reason == "INTERNAL"
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (record.msg, record.method) == ("internal error", "BatchEvaluate")


@pytest.mark.parametrize("count", [0, 257])
def test_wrong_number_of_requests_is_refused(stub, count):
    assert stub.GetCapabilities(v1.GetCapabilitiesRequest()).limits.max_batch_requests == 256
    code, text = refused(lambda: stub.BatchEvaluate(batch(*[small(rows=1)] * count)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("requests: expected at ")


def test_largest_pack_is_answered(stub):
    results = stub.BatchEvaluate(batch(*[small(rows=1)] * 256)).results
    assert [result.response.row_count for result in results] == [1] * 256


def test_server_without_packs_says_so():
    with serving(max_batch_requests=0) as server, connected(f"127.0.0.1:{server.port}") as stub:
        assert stub.GetCapabilities(v1.GetCapabilitiesRequest()).limits.max_batch_requests == 0
        code, text = refused(lambda: stub.BatchEvaluate(batch(small())))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert text.startswith("BatchEvaluate: ")
        assert stub.Evaluate(small()).row_count == 32


def test_overload_refuses_the_whole_pack(gate):
    large = small(rows=70)  # it takes some 100,000 bytes until it is answered
    with (
        serving(max_message_bytes=4096, max_inflight_bytes=150_000, caller_share=1) as server,
        connected(f"127.0.0.1:{server.port}") as stub,
    ):
        first = stub.BatchEvaluate.future(batch(large))
        assert gate.arrived.acquire(timeout=20)
        with pytest.raises(grpc.RpcError) as raised:
            stub.BatchEvaluate(batch(large, small(rows=1)))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(call_of(raised.value).trailing_metadata())["grpc-retry-pushback-ms"] == "100"
        gate.opened.set()
        assert first.result(20).results[0].response.row_count == 70
        eventually(lambda: inflight_bytes(server) == 0)


@pytest.fixture
def alive(monkeypatch):
    """The packs that the server still has, without a garbage collection."""
    known: weakref.WeakSet[object] = weakref.WeakSet()
    base: Any = packs.Pack  # type: ignore[attr-defined]

    class Watched(base):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            known.add(self)

    monkeypatch.setattr(packs, "Pack", Watched)
    gc.disable()
    yield known
    gc.enable()


def test_pack_that_is_refused_amid_its_requests_is_forgotten(gate, alive):
    with (
        serving(max_message_bytes=4096, max_inflight_bytes=150_000, caller_share=1) as server,
        connected(f"127.0.0.1:{server.port}") as stub,
    ):
        first = stub.BatchEvaluate.future(batch(small(rows=70)))
        assert gate.arrived.acquire(timeout=20)
        held = len(alive)
        for _ in range(3):
            with pytest.raises(grpc.RpcError, match="are in flight"):
                stub.BatchEvaluate(batch(small(rows=70), small(rows=1)))
        eventually(lambda: len(alive) == held)
        gate.opened.set()
        assert first.result(20).results[0].response.row_count == 70


def test_leaving_amid_work_holds_memory(gate):
    with serving() as server, connected(f"127.0.0.1:{server.port}") as stub:
        call = stub.BatchEvaluate.future(batch(small()))
        assert gate.arrived.acquire(timeout=20)
        call.cancel()
        eventually(lambda: value(server, "grpc_server_handled_total", **CALLS, grpc_code="Cancelled") == 1)
        assert inflight_bytes(server) == batch(small()).ByteSize() + PACK_COPIES * needed_bytes(small())
        gate.opened.set()
        eventually(lambda: inflight_bytes(server) == 0)
        assert total(server.registry, "losswire_rows_total", loss="cross_entropy") == 0


@pytest.mark.parametrize(
    ("requests", "beside"),
    [([small()] * 3, {False}), ([small()] * 200, {True}), ([small(), wrong(), small()], {True})],
    ids=["short", "long", "short but wrong"],
)
def test_only_right_short_packs_stay_here(stub, monkeypatch, requests, beside):
    with gated(monkeypatch) as gate:
        gate.opened.set()
        assert len(stub.BatchEvaluate(batch(*requests)).results) == len(requests)
    assert {name.startswith("ce-engine") for name in gate.threads} == beside


def test_every_request_counts():
    requests = [small(seed, series=series) for seed in range(4) for series in ("train", "eval")]
    with serving() as packing, connected(f"127.0.0.1:{packing.port}") as packed_stub:
        packed_stub.BatchEvaluate(batch(*requests, wrong()))
        with serving() as single, connected(f"127.0.0.1:{single.port}") as single_stub:
            for request in requests:
                single_stub.Evaluate(request)
            for name in ("losswire_loss_sum_total", "losswire_weight_sum_total"):
                for series in ("train", "eval"):
                    labels = {"loss": "cross_entropy", "series": series}
                    assert value(packing, name, **labels) == pytest.approx(value(single, name, **labels))
            for name in ("losswire_rows_total", "losswire_evaluations_total", "losswire_evaluation_seconds_count"):
                assert total(packing.registry, name) == total(single.registry, name) > 0
            received = "losswire_received_bytes_total"
            assert total(packing.registry, received, transport="pack") == sum(each.ByteSize() for each in requests)
            assert total(single.registry, received, transport="unary") == sum(each.ByteSize() for each in requests)
        assert value(packing, "grpc_server_handled_total", **CALLS, grpc_code="OK") == 1
        assert value(packing, "losswire_batch_requests_total", grpc_code="OK") == 8
        assert value(packing, "losswire_batch_requests_total", grpc_code="InvalidArgument") == 1


def test_request_codes_exist_from_the_start(server):
    assert value(server, "losswire_batch_requests_total", grpc_code="Internal") is not None


def test_pack_takes_shared_memory(stub):
    with leased(stub) as region:
        inside = small()
        inside.input.shared_memory.CopyFrom(region.span())
        region.mapping[: len(small().input.data)] = small().input.data
        inside.outputs.gradient.destination.CopyFrom(region.span(2**16))
        first, second = stub.BatchEvaluate(batch(inside, small())).results
    assert first.response.loss == second.response.loss
    assert first.response.gradient.HasField("shared_memory")


def test_bytes_that_are_no_request_fail_alone(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.unary_unary("/losswire.v1.LossService/BatchEvaluate")
        data = call(packed([b"\xff" * 9, small()]))
    first, second = v1.BatchEvaluateResponse.FromString(data).results
    assert first.failure.code == code_pb2.INVALID_ARGUMENT
    assert second.response.row_count == 32
