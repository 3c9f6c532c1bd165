"""Which requests of a pack form a group."""

import pytest

from losswire import v1
from losswire_server.requests.groups import MAX_STACKED_BYTES, grouped
from losswire_server.requests.pack import cut
from tests.proto.wire import VARINT, field
from tests.server.packs import MEAN, packed, small

SHARED = v1.Tensor(
    dtype=v1.Dtype.DTYPE_FLOAT32, shape=small().target.shape, shared_memory=v1.SharedMemorySpan(region_id="a")
)


def changed(change):
    request = small()
    change(request)
    return request


def groups_of(*requests):
    """The numbers of the requests in each group, and of each request that is alone."""
    groups = grouped(cut(packed(requests), 256))
    return sorted([request.number for request in group.requests] for group in groups)


def test_differing_elements_are_grouped():
    weighted = [small(seed, sample_weight=small().input) for seed in range(2)]
    weighted[1].sample_weight.data = bytes(len(weighted[1].sample_weight.data))
    assert groups_of(small(1), weighted[0], small(2), weighted[1]) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "change",
    [
        lambda request: setattr(request, "series", "other"),
        lambda request: setattr(request.spec, "zero_when_empty", True),
        lambda request: setattr(request.spec.cross_entropy, "ignore_index", 0),
        lambda request: request.outputs.gradient.SetInParent(),
        lambda request: request.sample_weight.SetInParent(),
        lambda request: request.input.shape.reverse(),
        lambda request: setattr(request.target, "dtype", v1.Dtype.DTYPE_FLOAT64),
        lambda request: request.MergeFromString(field(99, VARINT, 1)),
        lambda request: request.input.MergeFromString(field(99, VARINT, 1)),
    ],
)
def test_other_differences_keep_requests_apart(change):
    assert groups_of(small(), changed(change), small(1)) == [[0, 2], [1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda request: setattr(request.spec.cross_entropy, "weighting", v1.ClassWeighting.CLASS_WEIGHTING_BALANCED),
        lambda request: request.input.shared_memory.SetInParent(),
        lambda request: request.target.shared_memory.SetInParent(),
        lambda request: request.sample_weight.MergeFrom(SHARED),
        lambda request: request.outputs.gradient.destination.SetInParent(),
        lambda request: setattr(request.input, "data", bytes(MAX_STACKED_BYTES)),
    ],
)
def test_special_requests_are_left_alone(change):
    assert groups_of(changed(change), changed(change)) == [[0], [1]]


def test_bytes_of_no_request_are_left_alone():
    assert groups_of(b"\xff", small(), b"\xff", small(1)) == [[0], [1, 3], [2]]


def test_requests_without_a_loss_are_grouped():
    empty = v1.EvaluateRequest(spec=v1.LossSpec(reduction=MEAN))
    assert groups_of(empty, empty) == [[0, 1]]
