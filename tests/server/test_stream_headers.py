"""Headers that announce what cannot be, or more than there is memory for."""

import grpc
import numpy as np
import pytest

from losswire import v1
from tests.server.raw_streams import RawStream, violation
from tests.server.stream_batches import FLOAT32, GRADIENT, INT64, MEAN, check_refused, classes
from tests.server.test_streams_refused import slab

HUGE = 2**62

pytestmark = pytest.mark.usefixtures("neighbour")


@pytest.mark.parametrize("open_tensors", [[], ["target", "input"]], ids=["in the header", "in slabs"])
def test_gradient_to_a_place_of_its_own_is_not_served_in_a_stream(slab_channel, open_tensors):
    batch = classes(outputs=v1.OutputSpec(gradient={"destination": {"region_id": "x"}}))
    batch.open = open_tensors
    error = RawStream(slab_channel).send(batch.header()).error()
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert violation(error).startswith("outputs.gradient.destination")


@pytest.mark.parametrize("name", ["target", "sample_weight", "input"])
def test_tensor_in_shared_memory_is_not_served_in_a_stream(slab_channel, name):
    batch = classes(sample_weight=np.ones(60))
    header = v1.EvaluateStreamRequest.FromString(batch.header())
    getattr(header.header, name).shared_memory.region_id = "x"
    error = RawStream(slab_channel).send(header.SerializeToString()).error()
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert violation(error).startswith(name)


def huge(shape: list[int], target_shape: list[int], dtype: int = FLOAT32, **fields: object) -> bytes:
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
        (huge([HUGE, HUGE], [HUGE]), "input: expected a shape of at most 9223372036854775807 elements"),
        (huge([HUGE, 2], [HUGE]), "input: expected a shape of at most 9223372036854775807 elements"),
        (huge([5, -1], [5]), "input: expected no negative dimension, got shape (5, -1)"),
        (huge([5, 3], [HUGE, HUGE]), "target: expected a shape of at most 9223372036854775807 elements"),
        (huge([5, 3], [6]), "target: expected shape (5,)"),
        (huge([], []), "input: expected"),
        (huge([1] * 65, [1] * 64), "input: expected at most 64 dimensions, got 65"),
        (huge([5, 3], [5], dtype=99), "input: expected a dtype that is set and known, got number 99"),
        (huge([5, 3], [5], dtype=0), "input: expected a dtype that is set and known, got DTYPE_UNSPECIFIED"),
        (huge([5, 3], [5], dtype=INT64), "input: expected"),
        (
            huge([5, 3], [5], sample_weight=v1.Tensor(dtype=99, shape=[5])),
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


@pytest.mark.parametrize(
    "shape", [[HUGE, 1], [HUGE - 1, 2], [1, HUGE], [2**31, 2**31], [1, 1, HUGE], [2**20, 5, 2**20]]
)
def test_batch_larger_than_any_memory_is_taken_as_far_as_it_comes(slab_channel, shape):
    header = huge(shape, shape[:1] + shape[2:])
    check_refused(slab_channel, [header], "slab.input: expected all")
    for rows in (1, HUGE - 1):
        problem = (
            "slab.row_count: expected" if rows > np.prod(shape[:1] + shape[2:], dtype=object) else "slab.target: exp"
        )
        check_refused(slab_channel, [header, slab(0, rows, target=bytes(8 + rows % 2), input=bytes(4))], problem)


def test_targets_ahead_that_fit_no_memory_are_not_waited_for(slab_channel):
    error = RawStream(slab_channel).send(huge([HUGE, 1], [HUGE], outputs=GRADIENT)).error()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            {"cross_entropy": {"weight": {"dtype": FLOAT32, "shape": [5]}}},
            "spec.cross_entropy.weight: expected 20 bytes",
        ),
        ({"cross_entropy": {"weight": {"dtype": FLOAT32, "shape": [HUGE]}}}, "spec.cross_entropy.weight: expected"),
        ({"cross_entropy": {"label_smoothing": 2.0}}, "spec.cross_entropy.label_smoothing: expected"),
        ({"nll_loss": {"weight": {"dtype": INT64, "shape": [5]}}}, "spec.nll_loss.weight: expected 40 bytes"),
    ],
)
def test_options_that_are_wrong_are_refused_before_any_slab(slab_channel, spec, problem):
    batch = classes()
    batch.request.spec.CopyFrom(v1.LossSpec(reduction=MEAN, **spec))
    check_refused(slab_channel, [batch.header()], problem, ended=False)
