"""Messages that attacks send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from losswire import v1
from losswire.tensors import encode
from trials.cases import Case
from trials.peers.attack import Place

PATH = "/losswire.v1.LossService/"
REDUCTIONS = {
    "none": v1.Reduction.REDUCTION_NONE,
    "mean": v1.Reduction.REDUCTION_MEAN,
    "sum": v1.Reduction.REDUCTION_SUM,
}


def request_of(case: Case) -> bytes:
    """A right request with a case's batch, and without its options."""
    request = v1.EvaluateRequest()
    getattr(request.spec, case.loss).SetInParent()
    request.spec.reduction = REDUCTIONS[case.options["reduction"]]
    request.outputs.gradient.SetInParent()
    encode(case.input, request.input, "input")
    encode(case.target, request.target, "target")
    return request.SerializeToString()


def cross_entropy(rows: int, classes: int, dtype: str = "float32", **fields: Any) -> v1.EvaluateRequest:
    """A right request of so many rows, all alike, so that making it takes no time."""
    spec = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy())
    request = v1.EvaluateRequest(spec=spec, **fields)
    encode(np.zeros((rows, classes), dtype), request.input, "input")
    encode(np.zeros(rows, np.int64), request.target, "target")
    return request


def announcing(dtype: v1.Dtype.ValueType, rows: int) -> bytes:
    """The header of a stream whose targets come ahead of its input, as they never will."""
    weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    spec = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy(weighting=weighting))
    header = v1.EvaluateRequest(
        spec=spec,
        target=v1.Tensor(dtype=dtype, shape=[rows]),
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT16, shape=[rows, 2]),
    )
    return v1.EvaluateStreamRequest(header=header).SerializeToString()


def unary(connected: grpc.Channel, method: str = "Evaluate") -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """A method of the service that takes and gives bytes."""
    return connected.unary_unary(PATH + method)


@contextmanager
def channel(place: Place) -> Iterator[grpc.Channel]:
    """A connection of its own."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    with grpc.insecure_channel(place.target, options) as connected:
        yield connected
