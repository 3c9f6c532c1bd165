"""What a request is thought to take: with a head as many products as its logits need."""

import pytest
import torch

import ce_engine
from losswire import v1
from losswire.frames import SlabFrame
from losswire_server.calls.work import is_short
from losswire_server.heads.registry import Heads
from losswire_server.requests import cost
from losswire_server.requests.one import plan_request
from losswire_server.requests.slabs.stream_header import StreamHeader
from losswire_server.requests.slabs.stream_request import StreamRequest
from tests.server.calls.heads.served import heads_of_messages, message_of, states
from tests.server.packs import NONE, small


@pytest.fixture
def heads() -> Heads:
    return heads_of_messages(message_of(), alias="small")


def test_logits_count_once():
    assert cost.element_count_of(small()) == 320


def test_divergence_has_two_inputs():
    request = small()
    request.target.CopyFrom(request.input)
    of_kind = v1.KlDivergence(divergence=v1.Divergence.DIVERGENCE_FORWARD)
    request.spec.CopyFrom(v1.LossSpec(reduction=NONE, kl_divergence=of_kind))
    assert cost.element_count_of(request) == 640
    slab, _ = plan_request(request)
    assert cost.elements_of_slab(slab) == 640


def test_named_classes_count_as_they_take_time():
    """They are sorted, which takes some 45 ns a class."""
    request = small()
    request.target.CopyFrom(request.input)
    divergence = v1.KlDivergence(divergence=v1.Divergence.DIVERGENCE_FORWARD, tail=v1.Tail.TAIL_DROP)
    request.spec.CopyFrom(v1.LossSpec(reduction=NONE, kl_divergence=divergence))
    request.target_classes.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=request.input.shape))
    assert cost.element_count_of(request) == 640 + 5 * 320
    assert cost.target_count(request) == 320 + 15 * 320


def test_named_classes_of_a_slab_count_likewise():
    divergence = v1.KlDivergence(divergence=v1.Divergence.DIVERGENCE_FORWARD, tail=v1.Tail.TAIL_DROP)
    form = v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[100, 7])
    header = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_SUM, kl_divergence=divergence), input=form, target=form
    )
    header.target_classes.CopyFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=form.shape))
    seconds = StreamRequest(StreamHeader.of(header)).planning_seconds(SlabFrame(0, 10, {}))
    assert seconds == pytest.approx(10 * 7 * 16 * cost.TARGET_SECONDS)


def test_slab_counts_as_its_request(heads):
    request = states("small").request
    slab, _ = plan_request(request, held=heads)
    assert cost.elements_of_slab(slab) == cost.element_count_of(request, heads) == 60 * 37 + 60 * 37 * 6 // 200


def test_missing_head_is_told_at_once(heads):
    assert cost.element_count_of(states("absent").request, heads) == 0
    assert cost.element_count_of(states("absent").request) == 0


def test_few_rows_of_a_large_head_are_not_for_the_event_loop(heads):
    form = v1.Head(weight=v1.Tensor(shape=[20_000, 64]))
    heads.add("0" * 64, form, ce_engine.Head(torch.zeros(20_000, 64)), aliases=["large"])
    request = v1.EvaluateRequest(spec=states("large").request.spec)
    request.input.shape.extend((4, 64))
    assert not is_short(cost.seconds(1, 1, cost.element_count_of(request, heads)))
    request.spec.linear_cross_entropy.head = "small"
    assert is_short(cost.seconds(1, 1, cost.element_count_of(request, heads)))
