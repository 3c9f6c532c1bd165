"""Requests whose tensors lie in shared memory, and whose gradient is written there, whatever places they name.

An input has two parts: a request, in which the region is called ``r``, and the region's content.
"""

import mmap
import random

from google.protobuf.message import DecodeError

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.errors import FieldError
from losswire.fields import tensors_in
from losswire.losses import loss_of
from losswire.parsing import parse
from losswire_server.memory.regions import Regions
from trials.fuzz import generating, parts
from trials.fuzz.answers import answered, check_same, check_twin
from trials.fuzz.findings import hold
from trials.fuzz.mutating import changed_bytes, mutated

NAME = "r"
SIZE = 2 * mmap.PAGESIZE


def test(data: bytes) -> None:
    message, content, *_ = [*parts.cut(data), b"", b""]
    try:
        request = parse(v1.EvaluateRequest, message)
    except (DecodeError, FieldError):
        return
    regions = Regions(4 * SIZE)
    lease = regions.lease(SIZE)
    try:
        _test(request, content[:SIZE].ljust(SIZE, b"\0"), lease.path, lease.region_id, regions)
    finally:
        regions.close()
    del request
    hold(regions.leased_bytes == 0, f"{regions.leased_bytes} bytes stay leased")


def _test(request: v1.EvaluateRequest, content: bytes, path: str, region_id: str, regions: Regions) -> None:
    spans = _spans(request)
    for span in spans:
        span.region_id = region_id if span.region_id == NAME else span.region_id
    with open(path, "r+b", buffering=0) as file:
        file.write(content)
        end = answered(request, regions)
        file.seek(0)
        after = file.read()
    place = _written(request, end) if isinstance(end, v1.EvaluateResponse) else slice(0, 0)
    hold(after[: place.start] == content[: place.start], "bytes before the gradient have changed")
    hold(after[place.stop :] == content[place.stop :], "bytes after the gradient have changed")
    if isinstance(end, v1.EvaluateResponse):
        _check_answer(request, content, after, end)


def _written(request: v1.EvaluateRequest, response: v1.EvaluateResponse) -> slice:
    """Where the gradient lies."""
    if not request.outputs.gradient.HasField("destination"):
        return slice(0, 0)
    start = request.outputs.gradient.destination.offset_bytes
    return slice(start, start + _nbytes(response.gradient))


def _check_answer(request: v1.EvaluateRequest, content: bytes, after: bytes, response: v1.EvaluateResponse) -> None:
    """The answer is that of the same request in one message."""
    alone = v1.EvaluateRequest()
    alone.CopyFrom(request)
    for _, tensor in tensors_in(alone):
        _take_out(tensor, content)
    alone.outputs.gradient.ClearField("destination")
    if not request.outputs.HasField("gradient"):
        alone.outputs.ClearField("gradient")
    if response.gradient.HasField("shared_memory"):
        _take_out(response.gradient, after)
    check_same(response, answered(alone), "in shared memory")
    check_twin(alone, response)


def _take_out(tensor: v1.Tensor, content: bytes) -> None:
    if tensor.HasField("shared_memory"):
        start = tensor.shared_memory.offset_bytes
        tensor.data = content[start : start + _nbytes(tensor)]


def _nbytes(tensor: v1.Tensor) -> int:
    size = BY_WIRE[tensor.dtype].itemsize
    for length in tensor.shape:
        size *= length
    return size


def _spans(request: v1.EvaluateRequest) -> list[v1.SharedMemorySpan]:
    if not loss_of(request.spec):
        return []
    spans = [tensor.shared_memory for _, tensor in tensors_in(request) if tensor.HasField("shared_memory")]
    gradient = request.outputs.gradient
    return spans + ([gradient.destination] if gradient.HasField("destination") else [])


def mutate(data: bytes, rng: random.Random) -> bytes:
    message, content, *_ = [*parts.cut(data), b"", b""]
    match rng.randrange(8):
        case 0:
            content = changed_bytes(content, rng)
        case 1:
            return seed(rng)
        case _:
            message = mutated(message, rng)
    return parts.joined([message, content])


def seed(rng: random.Random) -> bytes:
    request, content = generating.request(rng), b""
    for _, tensor in tensors_in(request):
        if rng.random() < 0.7:
            content = content.ljust(-(-len(content) // 64) * 64, b"\0")
            place, content = len(content), content + tensor.data
            tensor.shared_memory.CopyFrom(v1.SharedMemorySpan(region_id=NAME, offset_bytes=place))
    if request.outputs.HasField("gradient") and rng.random() < 0.7:
        start = -(-len(content) // 64) * 64
        request.outputs.gradient.destination.CopyFrom(v1.SharedMemorySpan(region_id=NAME, offset_bytes=start))
    return parts.joined([request.SerializeToString(), content[:SIZE]])
