"""Headers that announce impossible tensors, or more than there is memory for."""

from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from tests.helpers import call_of
from tests.present import present
from tests.server.calls.raw_streams import RawStream, violation
from tests.server.calls.streams.test_streams_refused import slab
from tests.server.requests.stream_requests import FLOAT32, GRADIENT, INT64, MEAN, check_refused, classes

HUGE = 2**59
UNKNOWN: Any = 99

pytestmark = pytest.mark.usefixtures("neighbour")


@pytest.mark.parametrize("open_tensors", [[], ["target", "input"]], ids=["in the header", "in slabs"])
def test_stream_refuses_a_destination(slab_channel, open_tensors):
    batch = classes(outputs=v1.OutputSpec(gradient=v1.GradientSpec(destination=v1.SharedMemorySpan(region_id="x"))))
    batch.open = open_tensors
    error = RawStream(slab_channel).send(batch.header()).error()
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert violation(error).startswith("outputs.gradient.destination")


@pytest.mark.parametrize("name", ["target", "sample_weight", "input"])
def test_stream_refuses_shared_memory(slab_channel, name):
    batch = classes(sample_weight=np.ones(60))
    header = v1.EvaluateStreamRequest.FromString(batch.header())
    getattr(header.header, name).shared_memory.region_id = "x"
    error = RawStream(slab_channel).send(header.SerializeToString()).error()
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert violation(error).startswith(name)


def huge(shape: list[int], target_shape: list[int], dtype: Any = FLOAT32, **fields: Any) -> bytes:
    request = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=MEAN, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=dtype, shape=shape),
        target=v1.Tensor(dtype=INT64, shape=target_shape),
        **fields,
    )
    return v1.EvaluateStreamRequest(header=request).SerializeToString()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (huge([HUGE, HUGE], [HUGE]), "input: expected a shape of at most 1152921504606846975 elements"),
        (huge([HUGE, 2], [HUGE]), "input: expected a shape of at most 1152921504606846975 elements"),
        (huge([5, -1], [5]), "input: expected no negative dimension, got shape (5, -1)"),
        (huge([5, 3], [HUGE, HUGE]), "target: expected a shape of at most 1152921504606846975 elements"),
        (huge([5, 3], [6]), "target: expected shape (5,)"),
        (huge([], []), "input: expected"),
        (huge([1] * 65, [1] * 64), "input: expected at most 64 dimensions, got 65"),
        (huge([5, 3], [5], dtype=99), "input: expected a dtype that is set and known, got number 99"),
        (huge([5, 3], [5], dtype=0), "input: expected a dtype that is set and known, got DTYPE_UNSPECIFIED"),
        (huge([5, 3], [5], dtype=INT64), "input: expected"),
        (
            huge([5, 3], [5], sample_weight=v1.Tensor(dtype=UNKNOWN, shape=[5])),
            "sample_weight: expected a dtype that is set",
        ),
        (
            huge([5, 3], [5], sample_weight=v1.Tensor(dtype=FLOAT32, shape=[4])),
            "sample_weight: expected the loss's shape (5,)",
        ),
    ],
)
def test_forms_that_no_batch_has_are_refused(slab_channel, header, problem):
    check_refused(slab_channel, [header], problem)


@pytest.mark.parametrize("shape", [[HUGE, 1], [HUGE - 1, 2], [1, 1, HUGE], [2**20, 5, 2**20]])
def test_immense_batch_is_taken_as_it_comes(slab_channel, shape):
    header = huge(shape, shape[:1] + shape[2:])
    check_refused(slab_channel, [header], "slab.input: expected all")
    problem = "slab.target: expected 8 bytes for int64"
    check_refused(slab_channel, [header, slab(0, 1, target=bytes(9), input=bytes(4))], problem)
    check_refused(slab_channel, [header, slab(0, HUGE, target=bytes(8), input=bytes(4))], "slab.")


def too_large(channel: grpc.Channel, header: bytes) -> str:
    """The error of a header that is refused for good, without a time to come back."""
    error = RawStream(channel).send(header).error()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(call_of(error)).details)
    assert info.reason == "TOO_LARGE"
    assert "grpc-retry-pushback-ms" not in dict(call_of(error).trailing_metadata())
    return present(call_of(error).details())


@pytest.mark.parametrize("class_count", [2**24 + 1, 2**31, HUGE])
@pytest.mark.parametrize("weighting", [None, v1.ClassWeighting.CLASS_WEIGHTING_BALANCED])
@pytest.mark.parametrize("targets", [b"", bytes(8)], ids=["in slabs", "in the header"])
def test_row_above_a_message_is_refused(slab_channel, class_count, weighting, targets):
    header = v1.EvaluateStreamRequest.FromString(huge([1, class_count], [1])).header
    header.spec.cross_entropy.MergeFrom(v1.CrossEntropy(weighting=weighting))
    if targets:
        header.target.data = targets
    message = v1.EvaluateStreamRequest(header=header).SerializeToString()
    expected = f"a row has {4 * class_count} bytes, and a message at most {64 * 2**20}"
    assert too_large(slab_channel, message) == expected


def test_too_many_targets_are_not_waited_for(slab_channel):
    message = too_large(slab_channel, huge([HUGE, 1], [HUGE], outputs=GRADIENT))
    assert "and a caller may have at most 805306368 in flight" in message


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            {"cross_entropy": {"weight": {"dtype": FLOAT32, "shape": [5]}}},
            "spec.cross_entropy.weight: expected 20 bytes",
        ),
        ({"cross_entropy": {"weight": {"dtype": FLOAT32, "shape": [HUGE]}}}, "spec.cross_entropy.weight: expected"),
        ({"cross_entropy": {"label_smoothing": 2.0}}, "spec.cross_entropy.label_smoothing: expected"),
        ({"nll_loss": {"weight": {"dtype": INT64, "shape": [5]}}}, "spec.nll_loss.weight: expected one of the dtypes"),
    ],
)
def test_wrong_options_need_no_slab(slab_channel, spec, problem):
    batch = classes()
    batch.request.spec.CopyFrom(v1.LossSpec(reduction=MEAN, **spec))
    check_refused(slab_channel, [batch.header()], problem, ended=False)
