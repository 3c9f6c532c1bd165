"""How the requests of a pack are counted that their run refuses."""

import grpc
import pytest

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import serving, total
from tests.server.calls.runs.keyed import create, keyed


@pytest.mark.parametrize("rows", [8, 4000], ids=["small", "large"])
def test_refused_request_of_a_pack_is_counted_by_its_code(tmp_path, rows):
    requests = [keyed("a", "k", seed=1), keyed("a", "k", seed=2), keyed("none", "k"), keyed("a", "l", rows=rows)]
    with (
        serving(runs=str(tmp_path / "runs.db")) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.port}") as connected,
    ):
        create(run_service_pb2_grpc.RunServiceStub(connected), "a")
        losses = loss_service_pb2_grpc.LossServiceStub(connected)
        losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=requests))
        codes = {"OK": 2, "AlreadyExists": 1, "NotFound": 1}
        for code, count in codes.items():
            assert total(running.registry, "losswire_batch_requests_total", grpc_code=code) == count


def test_request_with_two_faults_fails_in_a_pack_as_alone(target):
    unknown = keyed("a b", "k").SerializeToString() + b"\xf8\x07\x01"
    wrong = v1.EvaluateRequest.FromString(unknown)
    with grpc.insecure_channel(target) as connected:
        losses = loss_service_pb2_grpc.LossServiceStub(connected)
        with pytest.raises(grpc.RpcError) as alone:
            losses.Evaluate(wrong)
        (result,) = losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=[wrong])).results
    assert alone.value.code().value[0] == result.failure.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
