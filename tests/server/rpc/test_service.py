"""What a caller in any language sees: statuses, details, health, reflection, and the metrics about its calls."""

import math
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.heads.content import digest
from losswire.v1 import head_service_pb2_grpc, loss_service_pb2_grpc
from losswire_server import __all__ as face
from tests.helpers import call_of, serving
from tests.replaced_evaluation import replace_evaluation

OF_INDICES = ("cross_entropy", "nll_loss", "linear_cross_entropy")  # losses whose targets are class indices
METHOD = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": "Evaluate"}


def request(dtype=v1.Dtype.DTYPE_FLOAT32, target_dtype=v1.Dtype.DTYPE_INT64) -> v1.EvaluateRequest:
    """Two rows of three classes, all zeros. A target of floats means probabilities."""
    target_shape = [2, 3] if BY_WIRE[target_dtype].floating else [2]
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=dtype, shape=[2, 3], data=bytes(6 * BY_WIRE[dtype].itemsize)),
        target=zeros(target_dtype, target_shape),
    )


def zeros(dtype, shape):
    return v1.Tensor(dtype=dtype, shape=shape, data=bytes(math.prod(shape) * BY_WIRE[dtype].itemsize))


@pytest.fixture(scope="module")
def channel(target):
    with grpc.insecure_channel(target) as connected:
        yield connected


@pytest.fixture(scope="module")
def stub(channel):
    return loss_service_pb2_grpc.LossServiceStub(channel)


@pytest.fixture(scope="module")
def head_of_three_classes(channel):
    """The digest of a head for hidden states of three numbers."""
    weight = zeros(v1.Dtype.DTYPE_FLOAT32, [3, 3])
    name = digest(v1.Head(weight=weight))
    header = v1.HeadHeader(digest=name)
    header.head.weight.MergeFrom(v1.Tensor(dtype=weight.dtype, shape=weight.shape))
    messages = [v1.RegisterHeadRequest(header=header), v1.RegisterHeadRequest(content=v1.HeadPart(data=weight.data))]
    *_, last = head_service_pb2_grpc.HeadServiceStub(channel).RegisterHead(iter(messages))
    assert last.head.digest == name
    return name


def handled(server, code, method="Evaluate", kind="unary"):
    labels = METHOD | {"grpc_method": method, "grpc_type": kind, "grpc_code": code}
    return server.registry.get_sample_value("grpc_server_handled_total", labels)


def details(error: grpc.RpcError, kind):
    status = rpc_status.from_call(call_of(error))
    message = kind()
    assert any(detail.Unpack(message) for detail in status.details)
    return message


def test_face_of_the_package_is_what_it_was():
    assert face == ["RunningServer", "Server", "Settings", "__version__", "launch"]


def test_wrong_request_names_its_field(stub, server):
    before = handled(server, "InvalidArgument")
    wrong = request()
    wrong.spec.ClearField("reduction")
    with pytest.raises(grpc.RpcError) as raised:
        stub.Evaluate(wrong)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(raised.value, error_details_pb2.BadRequest).field_violations
    assert violation.field == "spec.reduction"
    assert violation.description == (
        "expected one of REDUCTION_NONE, REDUCTION_MEAN, REDUCTION_SUM, got REDUCTION_UNSPECIFIED"
    )
    assert handled(server, "InvalidArgument") == before + 1
    assert stub.Evaluate(request()).row_count == 2


def test_empty_request_gets_invalid_argument(stub):
    with pytest.raises(grpc.RpcError) as raised:
        stub.Evaluate(v1.EvaluateRequest())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x0a\xff"], ids=["garbage", "truncated"])
def test_junk_gets_invalid_argument(channel, data):
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/losswire.v1.LossService/Evaluate")(data)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(raised.value, error_details_pb2.ErrorInfo).reason == "INVALID_REQUEST"


def test_internal_fault_leaks_nothing(stub, server, monkeypatch):
    def fail(*_: object, **__: object) -> ce_engine.RowResults:
        raise RuntimeError("the secret is 42")

    before = handled(server, "Internal")
    with monkeypatch.context() as patched:
        replace_evaluation(patched, fail)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Evaluate(request())
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(raised.value)
    assert "secret" not in str(raised.value.trailing_metadata())
    assert details(raised.value, error_details_pb2.ErrorInfo).reason == "INTERNAL"
    assert handled(server, "Internal") == before + 1
    assert stub.Evaluate(request()).row_count == 2


def test_capabilities_are_what_is_served(stub):
    told = stub.GetCapabilities(v1.GetCapabilitiesRequest())
    assert list(told.transports) == [
        v1.Transport.TRANSPORT_UNARY,
        v1.Transport.TRANSPORT_STREAM,
        v1.Transport.TRANSPORT_SHARED_MEMORY,
    ]
    assert told.limits.slab_bytes == 2**20
    assert told.device.type == "cpu"
    assert not told.device.HasField("index")
    for dtype in BY_WIRE:
        for probe, dtypes in (
            (request(dtype=dtype), told.input_dtypes),
            (request(target_dtype=dtype), told.target_dtypes),
        ):
            if dtype in dtypes:
                assert stub.Evaluate(probe).row_count == 2
            else:
                with pytest.raises(grpc.RpcError):
                    stub.Evaluate(probe)


OF_CLASSES = {
    v1.Output.OUTPUT_LOG_SUM_EXP,
    v1.Output.OUTPUT_TARGET_LOG_PROBABILITIES,
    v1.Output.OUTPUT_TARGET_RANKS,
}


@pytest.mark.parametrize("loss", v1.Loss.values()[1:], ids=v1.Loss.Name)
def test_capabilities_are_served(stub, loss, head_of_three_classes):
    told = stub.GetCapabilities(v1.GetCapabilitiesRequest())
    assert loss in told.losses
    name = v1.Loss.Name(loss).removeprefix("LOSS_").lower()
    binary = name.startswith("binary")
    probe = request(target_dtype=v1.Dtype.DTYPE_INT64 if name in OF_INDICES else v1.Dtype.DTYPE_FLOAT32)
    options: dict[str, Any] = {
        "linear_cross_entropy": {"head": head_of_three_classes},
        "kl_divergence": {"divergence": v1.Divergence.DIVERGENCE_FORWARD},
    }
    of_loss: dict[str, Any] = {name: options.get(name, {})}
    probe.spec.MergeFrom(v1.LossSpec(**of_loss))
    if name == "kl_divergence":
        probe.labels.CopyFrom(zeros(v1.Dtype.DTYPE_INT64, [2]))
    probe.outputs.outputs.extend(output for output in told.outputs if not (binary and output in OF_CLASSES))
    probe.outputs.gradient.dtype = v1.Dtype.DTYPE_BFLOAT16
    answer = stub.Evaluate(probe)
    rows = [2, 3] if binary else [2]
    assert list(answer.log_sum_exp.shape) == ([] if binary else rows)
    assert list(answer.predictions.shape) == list(answer.entropy.shape) == rows
    assert list(answer.probabilities.shape) == list(answer.log_probabilities.shape) == [2, 3]
    assert answer.gradient.dtype == v1.Dtype.DTYPE_BFLOAT16
    assert answer.correct_count == answer.row_count


def test_limit_told_is_the_limit_kept():
    with serving(max_message_bytes=4096) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        assert stub.GetCapabilities(v1.GetCapabilitiesRequest()).limits.max_message_bytes == 4096
        large = request()
        large.series = "x" * (4096 - large.ByteSize() - 3)
        assert large.ByteSize() == 4096
        with pytest.raises(grpc.RpcError) as raised:
            stub.Evaluate(large)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # only its series is too long
        large.series += "x"
        with pytest.raises(grpc.RpcError) as raised:
            stub.Evaluate(large)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_batching_is_told():
    settings = {
        "engine_workers": 3,
        "max_batch_rows": 100,
        "max_batch_bytes": 2000,
        "max_queue_delay_us": 40,
        "max_queue_rows": 500,
    }
    with serving(**settings) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        assert stub.GetCapabilities(v1.GetCapabilitiesRequest()).batching == v1.Batching(**settings)
    with serving() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        assert stub.GetCapabilities(v1.GetCapabilitiesRequest()).batching.max_batch_bytes == 2**18


def test_health_is_serving(channel):
    health: Any = health_pb2_grpc.HealthStub(channel)
    for service in ("", "losswire.v1.LossService", "losswire.v1.RunService", "losswire.v1.HeadService"):
        status = health.Check(health_pb2.HealthCheckRequest(service=service)).status
        assert status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(channel):
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub: Any = reflection_pb2_grpc.ServerReflectionStub
    (answer,) = stub(channel).ServerReflectionInfo(iter([ask]))
    assert {service.name for service in answer.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "losswire.v1.LossService",
        "losswire.v1.RunService",
        "losswire.v1.HeadService",
    }


def test_messages_and_calls_are_counted(stub, server):
    def counts():
        names = ("grpc_server_started", "grpc_server_msg_received", "grpc_server_msg_sent")
        values = [server.registry.get_sample_value(f"{name}_total", METHOD) for name in names]
        return [*values, server.registry.get_sample_value("grpc_server_handling_seconds_count", METHOD)]

    before = counts()
    stub.Evaluate(request())
    assert counts() == [value + 1 for value in before]
