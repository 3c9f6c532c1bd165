"""The oracles find faults: each test plants one."""

import itertools
import random
import time
from typing import Any

import grpc
import numpy as np
import pytest
from torch import Tensor

import ce_engine
from ce_engine import reference
from losswire import v1
from losswire.losses import LOSSES, loss_of
from trials.fuzz import answers, bounds, findings, generating, heads, parts
from trials.fuzz.findings import FindingError
from trials.fuzz.slabs import messages_of
from trials.fuzz.targets import TARGETS, frames, packs, streams
from trials.fuzz.tensors import filled
from trials.twin.batch import Batch, of_request
from trials.twin.check import WrongAnswerError, check_response
from trials.twin.heads import Head

HEADS = ("head", "target_head")


def right(seed: int = 0, loss: str = "cross_entropy") -> v1.EvaluateRequest:
    """The first request of a loss that the generator makes from a seed on."""
    made = (generating.request(random.Random(number), rows_at_least=2) for number in itertools.count(seed))
    request = next(request for request in made if loss_of(request.spec) == loss)
    request.spec.reduction = v1.Reduction.REDUCTION_SUM
    request.spec.ClearField("divisor")
    request.outputs.ClearField("gradient")
    return request


def replace_engine(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    real = ce_engine.evaluate
    monkeypatch.setattr(ce_engine, "evaluate", lambda slab: change(real(slab)))


def off_by_a_bit(result: Any) -> Any:
    result.loss_sum += 1e-3 * abs(result.loss_sum)
    return result


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_answer_is_found(monkeypatch, loss):
    replace_engine(monkeypatch, off_by_a_bit)
    with pytest.raises(FindingError, match="a wrong answer: loss_sum"):
        TARGETS["unary"].run(right(3, loss).SerializeToString())


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_gradient_is_found(monkeypatch, loss):
    request = right(3, loss)
    request.outputs.gradient.SetInParent()
    TARGETS["unary"].run(request.SerializeToString())
    replace_engine(monkeypatch, off_in_its_gradient)
    with pytest.raises(FindingError, match=r"a wrong answer: .* grad at"):
        TARGETS["unary"].run(request.SerializeToString())


def off_in_its_gradient(result: Any) -> Any:
    result.grad += 0.05 * result.grad.abs().amax()
    return result


def off_in_its_largest(result: Any) -> Any:
    result.top_log_probabilities -= 0.1 * result.top_log_probabilities.abs() + 0.1
    return result


def off_in_their_classes(result: Any) -> Any:
    result.top_classes = result.top_classes.flip(-1)
    return result


@pytest.mark.parametrize("change", [off_in_its_largest, off_in_their_classes])
@pytest.mark.parametrize("loss", [loss for loss, kind in LOSSES.items() if not kind.elementwise])
def test_wrong_largest_classes_are_found(monkeypatch, loss, change):
    request = right(3, loss)
    request.outputs.top_k = 2
    TARGETS["unary"].run(request.SerializeToString())
    replace_engine(monkeypatch, change)
    with pytest.raises(FindingError, match=r"a wrong answer: .* top_\w+ at"):
        TARGETS["unary"].run(request.SerializeToString())


def test_internal_fault_is_found(monkeypatch):
    monkeypatch.setattr(answers, "plan_request", lambda *_, **__: 1 / 0)
    with pytest.raises(FindingError, match="INTERNAL: ZeroDivisionError"):
        answers.answered(right())


def test_refusal_is_no_finding():
    assert answers.answered(v1.EvaluateRequest()) is grpc.StatusCode.INVALID_ARGUMENT


def test_lack_of_memory_is_found():
    with pytest.raises(FindingError, match="takes all memory"):
        findings.checked_status(ce_engine.OutOfMemoryError("no memory"))


def test_no_rows_of_many_classes_take_no_memory():
    request = v1.EvaluateRequest(
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT64, shape=[0, 2**31 - 1], data=b""),
        target=v1.Tensor(dtype=v1.Dtype.DTYPE_UINT8, shape=[0], data=b""),
    )
    request.spec.reduction = v1.Reduction.REDUCTION_SUM
    request.spec.cross_entropy.weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    TARGETS["unary"].run(request.SerializeToString())


@pytest.mark.parametrize("probability", [0.0, 1e-13, 1.0])
def test_gradients_at_certain_probabilities_are_the_twins(probability):
    request = v1.EvaluateRequest()
    request.spec.reduction = v1.Reduction.REDUCTION_NONE
    request.spec.binary_cross_entropy.SetInParent()
    request.outputs.gradient.SetInParent()
    filled(request.input, "float64", (1,), np.array([probability]))
    filled(request.target, "float64", (1,), np.array([0.5]))
    filled(request.sample_weight, "float64", (1,), np.array([1e-9]))  # a gradient that is small enough to be compared
    response = answers.answered(request)
    assert isinstance(response, v1.EvaluateResponse)
    assert answers.check_twin(request, response) == 1


def test_product_of_weights_that_underflows_is_not_compared():
    request = v1.EvaluateRequest()
    request.spec.reduction = v1.Reduction.REDUCTION_SUM
    request.outputs.gradient.SetInParent()
    options = request.spec.binary_cross_entropy_with_logits
    filled(request.input, "float32", (1,), np.array([-0.3]))
    filled(request.target, "float32", (1,), np.array([0.1]))
    filled(options.weight, "float32", (1,), np.array([4e-28]))
    filled(options.pos_weight, "float32", (1,), np.array([1e18]))
    filled(request.outputs.gradient.grad_output, "float32", (), np.array(1e-26))
    response = answers.answered(request)
    assert isinstance(response, v1.EvaluateResponse)
    assert answers.check_twin(request, response) == 0


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_slow_input_is_found(monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.01)
    with pytest.raises(FindingError, match="10 bytes took"), bounds.bounded(10):
        compute(0.05)


@pytest.mark.skipif(not bounds.PEAK.exists(), reason="the peak of memory is read from /proc")
def test_large_input_is_found():
    with pytest.raises(FindingError, match=r"10 bytes took \d+ MB"), bounds.bounded(10):
        assert len(b"x" * (bounds.BYTES + 2**25))


def test_memory_of_earlier_inputs_does_not_count():
    assert len(b"x" * (2 * bounds.BYTES))
    with bounds.bounded(10):
        pass


def test_other_reading_of_a_frame_is_found(monkeypatch):
    message = messages_of(right(), 2, random.Random(0))[-1]
    frames.test(message)
    monkeypatch.setattr(v1, "EvaluateStreamRequest", _Deaf)
    with pytest.raises(FindingError, match="protobuf reads other rows"):
        frames.test(message)


class _Deaf:
    """Reads every message as an empty one."""

    @staticmethod
    def FromString(_: bytes) -> v1.EvaluateStreamRequest:  # noqa: N802 - protobuf's name
        return _EMPTY


_EMPTY = v1.EvaluateStreamRequest()


def test_pack_that_differs_is_found(monkeypatch):
    data = parts.joined([right(3).SerializeToString()])
    packs.test(data)
    monkeypatch.setattr(packs, "read_and_answered", lambda *_: v1.EvaluateResponse())
    with pytest.raises(FindingError, match="in a pack: expected"):
        packs.test(data)


def test_stream_that_differs_is_found(monkeypatch):
    messages = messages_of(right(), 100, random.Random(0))
    data = parts.joined(messages)
    assert isinstance(findings.answer_or_refusal(lambda: streams.stream(messages)), streams.Streamed)
    streams.test(data)
    monkeypatch.setattr(streams, "answered", lambda _: v1.EvaluateResponse())
    with pytest.raises(FindingError, match="in slabs: expected"):
        streams.test(data)


@pytest.mark.parametrize("seed", range(40))
def test_twin_is_the_slow_twin(seed):
    """And it notices each number of an answer that is changed."""
    request = generating.request(random.Random(seed), rows_at_least=1)
    batch, response = of_request(request, heads.TWINS), answers.answered(request)
    assert check_response(batch, response) >= 0.9 * batch.row_count  # a factor may be too small to compare
    if isinstance(batch.options.get("weight"), str):
        return  # the slow twin takes numbers
    slow = by_the_slow_twin(batch, request)
    fields = {"loss_sum": slow.loss_sum, "weight_sum": slow.weight_sum, "row_count": slow.row_count}
    as_answer = v1.EvaluateResponse(**fields, ignored_count=slow.ignored_count)
    as_answer.loss.CopyFrom(response.loss)
    check_response(batch, as_answer)
    for name, change in (("weight_sum", 1.0), ("row_count", 1), ("ignored_count", 1)):
        wrong = v1.EvaluateResponse()
        wrong.CopyFrom(response)
        setattr(wrong, name, getattr(wrong, name) + change)
        with pytest.raises(WrongAnswerError, match=name):
            check_response(batch, wrong)


def by_the_slow_twin(batch: Batch, request: v1.EvaluateRequest) -> Any:
    options = {name: option for name, option in batch.options.items() if name != "empty"}
    target = batch.target if batch.target.is_floating_point() else batch.target.long()  # uint8 would be a mask
    if batch.loss == "linear_cross_entropy":
        head = heads.HELD.use(request.spec.linear_cross_entropy.head, "head")
        return reference.linear_cross_entropy(batch.input, **options | {"head": head, "target": target})
    own = [options.pop(name, None) for name in HEADS]
    logits = (logits_of(tensor, head) for tensor, head in zip((batch.input, target), own, strict=True))
    return getattr(reference, batch.loss)(*logits, **options)


def logits_of(tensor: Tensor, head: Head | None) -> Tensor:
    if head is None:
        return tensor
    rows = tensor.reshape(-1, tensor.shape[-1]).double()
    return head.logits(rows).reshape(*tensor.shape[:-1], head.classes)
