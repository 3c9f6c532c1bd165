"""What is reserved for a request covers what it takes, and is told from its form alone."""

import time
import tracemalloc

import pytest
import torch

from losswire import v1
from losswire.payloads import parse_apart
from losswire_server.memory.regions import Regions
from losswire_server.requests.answer import Answer
from losswire_server.requests.encoding import fill
from losswire_server.requests.needed import ANSWER_COPIES, evaluation_bytes, needed_bytes
from losswire_server.requests.one import plan_request

MIB = 2**20
ROWS, CLASSES = 2048, 512
INPUT_BYTES, TARGET_BYTES = 4 * ROWS * CLASSES, 8 * ROWS


def request(**outputs: object) -> v1.EvaluateRequest:
    """4 MiB of float32 logits."""
    made = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        outputs=v1.OutputSpec(**outputs),  # type: ignore[arg-type]
    )
    fill(made.input, torch.zeros(ROWS, CLASSES))
    fill(made.target, torch.zeros(ROWS, dtype=torch.int64))
    return made


def apart(made: v1.EvaluateRequest, offset: int) -> tuple[v1.EvaluateRequest, dict[str, memoryview]]:
    """A request whose payloads lie so many bytes behind a multiple of 8."""
    parsed, payloads = parse_apart(v1.EvaluateRequest, made.SerializeToString())
    shifted = {}
    for name, payload in payloads.items():
        room = torch.zeros(len(payload) + 64, dtype=torch.uint8)
        start = -room.data_ptr() % 8 + offset
        view = memoryview(room.numpy().data)[start : start + len(payload)]
        view[:] = payload
        shifted[name] = view
    return parsed, shifted


def test_losses_need_little():
    parsed, payloads = apart(request(), 0)
    assert needed_bytes(parsed, payloads) < INPUT_BYTES / 4


def test_gradient_is_needed_in_the_answer_too():
    parsed, payloads = apart(request(gradient=v1.GradientSpec()), 0)
    assert ANSWER_COPIES * INPUT_BYTES <= needed_bytes(parsed, payloads) < (ANSWER_COPIES + 0.5) * INPUT_BYTES


@pytest.mark.parametrize(("offset", "copied"), [(0, 0), (4, TARGET_BYTES), (1, INPUT_BYTES + TARGET_BYTES)])
def test_misaligned_payloads_are_copied(offset, copied):
    parsed, payloads = apart(request(), 0)
    aligned = needed_bytes(parsed, payloads)
    assert needed_bytes(*apart(request(), offset)) == aligned + copied


def test_elements_in_the_message_are_copied():
    made = request()
    assert needed_bytes(made) == needed_bytes(*apart(made, 0)) + INPUT_BYTES + TARGET_BYTES


def test_integers_in_a_region_are_copied_and_floats_are_not():
    regions = Regions(64 * MIB)
    span = v1.SharedMemorySpan(region_id=regions.lease(8 * MIB).region_id)
    made = request()
    aligned = needed_bytes(*apart(made, 0))
    made.input.shared_memory.CopyFrom(span)
    made.target.shared_memory.CopyFrom(span)
    assert needed_bytes(made) == aligned + TARGET_BYTES
    into = request(gradient=v1.GradientSpec(destination=span))
    assert needed_bytes(*apart(into, 0)) < INPUT_BYTES / 2  # the gradient is written where it is wanted
    regions.close()


@pytest.mark.parametrize("rows", [2**26, 2**40])
def test_huge_shape_is_arithmetic_only(rows):
    made = request(outputs=v1.Output.values()[1:], gradient=v1.GradientSpec())
    for tensor, shape in ((made.input, [rows, 1000]), (made.target, [rows])):
        tensor.shape[:] = shape
        tensor.shared_memory.region_id = "x"
    tracemalloc.start()
    start = time.perf_counter()
    needed = needed_bytes(made)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needed > 3 * ANSWER_COPIES * 4 * 1000 * rows
    assert seconds < 5  # some milliseconds, with room for a busy machine
    assert peak < MIB


def test_nothing_is_planned_if_it_is_not_reserved():
    regions = Regions(2 * MIB)
    made = request()
    span = v1.SharedMemorySpan(region_id=regions.lease(MIB).region_id)
    made.target.shared_memory.CopyFrom(span)
    asked = []

    def reserve(size: int) -> None:
        asked.append(size)
        raise KeyError

    with pytest.raises(KeyError):
        plan_request(made, regions, reserve=reserve)
    assert asked == [needed_bytes(made)]
    regions.close()


def test_forms_of_all_options_are_told():
    made = request(outputs=v1.Output.values()[1:], gradient=v1.GradientSpec(dtype=v1.Dtype.DTYPE_FLOAT64))
    plain = evaluation_bytes(made)
    assert plain.results >= INPUT_BYTES * (2 + 2)  # probabilities twice, and a gradient of twice the width
    made.spec.cross_entropy.weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    made.spec.cross_entropy.label_smoothing = 0.1
    assert evaluation_bytes(made).peak >= plain.peak


@pytest.mark.parametrize(("rows", "classes"), [(3, 3), (ROWS, CLASSES)])
def test_sums_of_each_class_are_needed(rows, classes):
    made = request()
    for tensor in (made.input, made.target):
        tensor.shape[0] = rows
        tensor.ClearField("data")
    plain = needed_bytes(made)
    made.exact.SetInParent()
    assert needed_bytes(made) == plain
    made.exact.by_class = True
    assert needed_bytes(made) > plain + classes * 2000


def test_bytes_of_an_answer_are_protobufs():
    tensors = {"loss": torch.arange(5.0), "gradient": torch.randn(100, 50), "predictions": torch.arange(4000)}
    answer, whole = (Answer(v1.EvaluateResponse(row_count=7, loss_sum=2.5), []) for _ in range(2))
    for field, tensor in tensors.items():
        answer.add(field, tensor)
        whole.add(field, tensor)
    assert [name for name, _ in answer.large] == ["gradient", "predictions"]
    written = answer.to_bytes()
    assert v1.EvaluateResponse.FromString(written) == whole.message()
    assert len(written) == whole.message().ByteSize()
