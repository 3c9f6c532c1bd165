"""Results for tensors in a region have the same bits as for tensors that are sent."""

import itertools
from typing import Any

import pytest
import torch

from losswire import v1
from losswire.errors import FieldError
from losswire_server.memory.regions import Regions
from tests.ce_engine.helpers import PROBLEMS, SHAPES, problem
from tests.server.evaluating import evaluate
from tests.server.memory.shared_memory import LOGITS, PAGE, TARGET, leased, request, sent


@pytest.mark.parametrize("offset", [0, 4, 64, 4096])
def test_region_has_the_bits_of_a_message(stub, offset):
    expected = stub.Evaluate(request(sent(LOGITS), sent(TARGET)))
    with leased(stub) as region:
        assert stub.Evaluate(request(region.put(LOGITS, offset), region.put(TARGET, 2**19))) == expected
        assert stub.Evaluate(request(region.put(LOGITS, offset), sent(TARGET))) == expected


def in_region(regions: Regions, given: v1.EvaluateRequest) -> v1.EvaluateRequest:
    """The same request with all of its tensors in a region, one behind the other from an odd offset on."""
    lease = regions.lease(2**16)
    offset, mapping = itertools.count(8, 4096), regions._regions[lease.region_id].mapping
    placed = v1.EvaluateRequest()
    placed.CopyFrom(given)
    for message in tensors_of(placed):
        start, data = next(offset), message.data
        mapping[start : start + len(data)] = data
        message.shared_memory.region_id, message.shared_memory.offset_bytes = lease.region_id, start
    if placed.outputs.HasField("gradient"):
        destination = placed.outputs.gradient.destination
        destination.region_id, destination.offset_bytes = lease.region_id, next(offset)
    return placed


def tensors_of(message):
    for field, value in message.ListFields():
        if isinstance(value, v1.Tensor):
            yield value
        elif field.message_type is not None and not field.is_repeated:
            yield from tensors_of(value)


def request_of(given, **gradient) -> v1.EvaluateRequest:
    """A problem of the engine's tests as a request, with its incoming gradient and sample weights."""

    def tensor(x):
        data = x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return v1.Tensor(dtype=wire(x.dtype), shape=x.shape, data=data)

    losses, dtype = given.ours(reduction="none").loss, given.input.dtype
    options = {name: tensor(x) if isinstance(x, torch.Tensor) else x for name, x in given.options.items()}
    of_loss: dict[str, Any] = {given.loss: options}
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_NONE, **of_loss),
        input=tensor(given.input),
        target=tensor(given.target),
        sample_weight=tensor(torch.linspace(0, 2, losses.numel(), dtype=dtype).reshape(losses.shape)),
        outputs=v1.OutputSpec(gradient=v1.GradientSpec(grad_output=tensor(torch.rand(losses.shape)), **gradient)),
    )


def wire(dtype: torch.dtype):
    return v1.Dtype.Value(f"DTYPE_{str(dtype).removeprefix('torch.').upper()}")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_tensor_may_lie_in_a_region(regions, kind, dtype, shape):
    given = request_of(problem(kind, shape[0], dtype))
    expected, placed = evaluate(given), in_region(regions, given)
    response = evaluate(placed, regions)
    assert_same_but_for_the_gradients_place(response, expected, placed, regions)


@pytest.mark.parametrize("grad_dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gradient_of_other_dtype_in_a_region(regions, grad_dtype):
    given = request_of(problem("cross_entropy", (4, 5, 3), torch.float16), dtype=wire(grad_dtype))
    expected, placed = evaluate(given), in_region(regions, given)
    assert_same_but_for_the_gradients_place(evaluate(placed, regions), expected, placed, regions)


def assert_same_but_for_the_gradients_place(response, expected, placed, regions):
    destination, gradient = placed.outputs.gradient.destination, response.gradient
    assert gradient.shared_memory == destination
    mapping, start = regions._regions[destination.region_id].mapping, destination.offset_bytes
    gradient.data = mapping[start : start + len(expected.gradient.data)]
    assert response.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_last_bytes_of_a_region_may_be_used(stub):
    with leased(stub) as region:
        response = stub.Evaluate(request(region.put(LOGITS, 2**20 - LOGITS.nbytes), sent(TARGET)))
        assert response.loss == stub.Evaluate(request(sent(LOGITS), sent(TARGET))).loss


def test_empty_tensor_may_lie_at_the_end(regions):
    lease = regions.lease(PAGE)
    span = v1.SharedMemorySpan(region_id=lease.region_id, offset_bytes=PAGE)
    assert regions.view(span, "input", torch.float32, (0, 5)).shape == (0, 5)
    span.offset_bytes += 4
    with pytest.raises(FieldError):
        regions.view(span, "input", torch.float32, (0, 5))
