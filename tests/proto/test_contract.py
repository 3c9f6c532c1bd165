"""The contract is designed for the whole mission at once. Later issues and other languages rely on its properties."""

import inspect
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from google.rpc import error_details_pb2, status_pb2
from torch.nn import functional as F

import losswire
from losswire import v1
from losswire.v1 import (
    batch_evaluate_pb2,
    capabilities_pb2,
    errors_pb2,
    evaluate_pb2,
    exact_sums_pb2,
    head_service_pb2,
    loss_service_pb2,
    loss_spec_pb2,
    run_service_pb2,
    runs_pb2,
    shared_memory_pb2,
    tensor_pb2,
)
from tests.present import present

FILES = (
    batch_evaluate_pb2,
    capabilities_pb2,
    errors_pb2,
    evaluate_pb2,
    exact_sums_pb2,
    head_service_pb2,
    loss_spec_pb2,
    runs_pb2,
    shared_memory_pb2,
    tensor_pb2,
)
OPTIONS = {  # in every file: without them, generators for these languages stop, or invent names
    "csharp_namespace": "Losswire.V1",
    "go_package": "losswire/v1;losswirev1",
    "java_multiple_files": True,
    "java_package": "losswire.v1",
    "objc_class_prefix": "LSW",
    "php_namespace": "Losswire\\V1",
    "ruby_package": "Losswire::V1",
}
TORCH_LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
LOSSES = (*TORCH_LOSSES, "linear_cross_entropy", "kl_divergence")
OUR_OPTIONS = {"weighting", "z_loss"}
NOT_OPTIONS = {"input", "target", "size_average", "reduce", "reduction"}  # the latter three became one: reduction


def test_v1_has_every_message_and_enum():
    names = {
        name for file in FILES for name in (*file.DESCRIPTOR.message_types_by_name, *file.DESCRIPTOR.enum_types_by_name)
    }
    assert v1.__all__ == sorted(names)


def test_package_has_its_version_only():
    assert losswire.__all__ == ["__version__"]


def test_service_has_its_rpcs():
    methods = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].methods
    assert {method.name: (method.client_streaming, method.server_streaming) for method in methods} == {
        "BatchEvaluate": (False, False),
        "Evaluate": (False, False),
        "EvaluateStream": (True, True),
        "GetCapabilities": (False, False),
        "LeaseSharedMemory": (False, True),
    }


def test_service_of_runs_has_its_rpcs():
    methods = run_service_pb2.DESCRIPTOR.services_by_name["RunService"].methods
    assert {method.name: (method.client_streaming, method.server_streaming) for method in methods} == {
        "CreateRun": (False, False),
        "DeleteRun": (False, False),
        "FindMissingKeys": (False, False),
        "FinishRun": (False, False),
        "GetRun": (False, False),
        "ListRunKeys": (False, False),
        "ListRuns": (False, False),
        "WatchRun": (False, True),
    }


@pytest.mark.parametrize("file", [*FILES, loss_service_pb2, run_service_pb2], ids=lambda file: file.DESCRIPTOR.name)
def test_file_options_of_every_generator(file):
    stem = Path(file.DESCRIPTOR.name).stem
    expected = {**OPTIONS, "java_outer_classname": stem.title().replace("_", "") + "Proto"}
    assert {field.name: value for field, value in file.DESCRIPTOR.GetOptions().ListFields()} == expected


def test_failure_is_a_google_rpc_status():
    detail = error_details_pb2.ErrorInfo(reason="INTERNAL", domain="losswire")
    status = status_pb2.Status(code=13, message="internal error")
    status.details.add().Pack(detail)
    failure = v1.Failure.FromString(status.SerializeToString())
    assert (failure.code, failure.message, list(failure.details)) == (13, "internal error", list(status.details))
    fields = [(field.number, field.name, field.type) for field in v1.Failure.DESCRIPTOR.fields]
    assert fields == [(field.number, field.name, field.type) for field in status.DESCRIPTOR.fields]


def test_service_of_heads_has_its_rpcs():
    methods = head_service_pb2.DESCRIPTOR.services_by_name["HeadService"].methods
    assert {method.name: (method.client_streaming, method.server_streaming) for method in methods} == {
        "DeleteHead": (False, False),
        "GetHead": (False, False),
        "ListHeads": (False, False),
        "RegisterHead": (True, True),
        "SetHeadAlias": (False, False),
    }


@pytest.mark.parametrize("loss", TORCH_LOSSES)
def test_loss_has_the_options_of_torch(loss: str):
    options = set(inspect.signature(getattr(F, loss)).parameters) - NOT_OPTIONS
    message = v1.LossSpec.DESCRIPTOR.fields_by_name[loss].message_type
    assert options == {field.name for field in present(message).fields} - OUR_OPTIONS


def test_linear_cross_entropy_has_the_options_of_torch():
    options = set(inspect.signature(F.linear_cross_entropy).parameters) - NOT_OPTIONS
    of_head = {"linear_weight", "linear_bias"}
    how = {"options"}  # how it is computed, not what
    fields = {field.name for field in v1.LinearCrossEntropy.DESCRIPTOR.fields}
    assert options - of_head - how == fields - OUR_OPTIONS - {"head"}


def test_spec_and_enum_have_every_loss():
    assert tuple(field.name for field in v1.LossSpec.DESCRIPTOR.oneofs_by_name["loss"].fields) == LOSSES
    assert [name.removeprefix("LOSS_").lower() for name in v1.Loss.keys()] == ["unspecified", *LOSSES]  # noqa: SIM118


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (v1.Tensor, "data"),
        (v1.EvaluateRequest, "input"),
        (v1.HeadPart, "data"),
        (v1.Slab, "input"),
        (v1.ResultSlab, "gradient"),
    ],
)
def test_payload_comes_last_on_the_wire(message, payload: str):
    descriptor: Descriptor = message.DESCRIPTOR
    number = descriptor.fields_by_name[payload].number
    assert number == max(field.number for field in descriptor.fields)
    assert number < 16


def test_payload_of_an_answer_has_a_short_tag():
    fields = v1.EvaluateResponse.DESCRIPTOR.fields_by_name
    assert fields["gradient"].number < 16  # fields that came later have longer ones, and may come before it
