"""Every field of a right request, with values that nobody can mean: the caller's mistake, and never the server's."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from losswire import v1
from tests.helpers import serving
from tests.server.calls.raw_streams import connection
from tests.server.packs import packed, small
from tests.server.requests.test_mutations import PATH, SLAB, as_header, ends, opened

MISTAKES = INVALID, _ = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED
HUGE, LEAST = 2**63 - 1, -(2**63)
UNKNOWN: Any = 77  # of any enum
SHAPES: list[list[int]] = [[], [0], [0, 10], [32, 0], [1] * 65, [HUGE], [HUGE, HUGE], [2**32, 2**32], [-1, 10]]
SHAPES += [[LEAST], [2**62, 2], [32, 10, 0], [32, 10, HUGE, 0], [1, 320], [10, 32]]
TENSORS: dict[str, Callable[[v1.EvaluateRequest], v1.Tensor]] = {
    "input": lambda request: request.input,
    "target": lambda request: request.target,
    "sample_weight": lambda request: request.sample_weight,
    "weight": lambda request: request.spec.cross_entropy.weight,
    "grad_output": lambda request: request.outputs.gradient.grad_output,
}
Change = Callable[[v1.EvaluateRequest], object]


def shaped(name: str, shape: list[int]) -> Change:
    def change(request: v1.EvaluateRequest) -> None:
        tensor = TENSORS[name](request)
        tensor.dtype = tensor.dtype or v1.Dtype.DTYPE_FLOAT32
        del tensor.shape[:]
        tensor.shape.extend(shape)

    return change


def typed(name: str, dtype: Any) -> Change:
    return lambda request: setattr(TENSORS[name](request), "dtype", dtype)


def smoothed(value: float) -> Change:
    return lambda request: setattr(request.spec.cross_entropy, "label_smoothing", value)


def named(series: str) -> Change:
    return lambda request: setattr(request, "series", series)


def destined(region_id: str, offset: int) -> Change:
    def change(request: v1.EvaluateRequest) -> None:
        span = request.outputs.gradient.destination
        span.region_id, span.offset_bytes = region_id, offset

    return change


def shared(name: str, offset: int) -> Change:
    def change(request: v1.EvaluateRequest) -> None:
        TENSORS[name](request).shared_memory.region_id = "none"
        TENSORS[name](request).shared_memory.offset_bytes = offset

    return change


CHANGES: dict[str, Change] = {
    **{f"{name} of shape {str(shape)[:40]}": shaped(name, shape) for name in TENSORS for shape in SHAPES},
    **{f"{name} of dtype {dtype}": typed(name, dtype) for name in TENSORS for dtype in (0, -1, UNKNOWN, 2**31 - 1)},
    **{f"label_smoothing {value}": smoothed(value) for value in (-1.0, 1.5, math.nan, math.inf, -math.inf, 1e308)},
    **{f"{name} shared at {offset}": shared(name, offset) for name in TENSORS for offset in (0, -1, HUGE, LEAST)},
    **{f"destination at {offset}": destined("none", offset) for offset in (0, -1, 1, HUGE, LEAST)},
    **{f"series {series!r:.20}": named(series) for series in ("a b", "é", "\0", "a\n", "x" * 65, "x" * 10_000)},
    "reduction unknown": lambda request: setattr(request.spec, "reduction", UNKNOWN),
    "reduction negative": lambda request: setattr(request.spec, "reduction", -1),
    "weighting unknown": lambda request: setattr(request.spec.cross_entropy, "weighting", UNKNOWN),
    "grad dtype unknown": lambda request: setattr(request.outputs.gradient, "dtype", UNKNOWN),
    "outputs unknown": lambda request: request.outputs.outputs.append(UNKNOWN),
    "outputs unspecified": lambda request: request.outputs.outputs.append(v1.Output.OUTPUT_UNSPECIFIED),
    "outputs twice": lambda request: request.outputs.outputs.extend([v1.Output.OUTPUT_PROBABILITIES] * 2),
    "outputs by the thousand": lambda request: request.outputs.outputs.extend([v1.Output.OUTPUT_PROBABILITIES] * 5000),
    "no loss": lambda request: request.spec.ClearField("cross_entropy"),
    "no spec": lambda request: request.ClearField("spec"),
    "unknown field": lambda request: request.spec.MergeFromString(b"\xf8\x7f\x01"),
}
WRONG_BYTES = {
    "series that is no UTF-8": b"\x1a\x02\xff\xfe" + small(rows=2).SerializeToString(),
    "groups within groups": b"\x0b" * 3000 + b"\x0c" * 3000,
    "messages within messages": b"\x0a\x7f" * 60,
    "length beyond the end": b"\x0a\xff\xff\xff\xff\x07",
    "field number 0": b"\x00\x00",
    "varint without end": b"\x08" + b"\xff" * 12,
    "one byte": b"\xff",
}


def changed(change: Change) -> bytes:
    request = small()
    change(request)
    return request.SerializeToString()


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with serving() as server, connection(server) as connected:
        yield connected


REQUESTS = {name: changed(change) for name, change in CHANGES.items()} | WRONG_BYTES


@pytest.mark.parametrize("name", REQUESTS)
def test_absurd_value_is_the_callers_mistake(name, channel):
    data = REQUESTS[name]
    alone = ends(lambda: channel.unary_unary(f"{PATH}Evaluate")(data, timeout=20))
    assert alone in MISTAKES
    answer = channel.unary_unary(f"{PATH}BatchEvaluate")(packed([small(rows=2), data, small(rows=2)]), timeout=20)
    first, wrong, last = v1.BatchEvaluateResponse.FromString(answer).results
    assert (first.response.row_count, last.response.row_count) == (2, 2)
    assert wrong.failure.code == alone.value[0]
    for messages in ([as_header(data)], [as_header(opened(data)), SLAB]):
        streamed = ends(lambda: list(channel.stream_stream(f"{PATH}EvaluateStream")(iter(messages), timeout=20)))  # noqa: B023
        assert streamed in MISTAKES


@pytest.mark.parametrize("size", [0, -1, LEAST, HUGE, 2**62, 2**50])
def test_absurd_lease_is_the_callers_mistake(size, channel):
    request = v1.LeaseSharedMemoryRequest(size_bytes=size).SerializeToString()
    code = ends(lambda: list(channel.unary_stream(f"{PATH}LeaseSharedMemory")(request, timeout=20)))
    assert code is (INVALID if size <= 0 else grpc.StatusCode.RESOURCE_EXHAUSTED)
