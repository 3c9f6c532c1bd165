"""Calls over right connections whose content is wrong, immense or unwanted before it is answered."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import count
from typing import Any

import grpc

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from trials.fuzz import corpus, parts
from trials.fuzz.targets import TARGETS
from trials.peers.attack import Effort, Place
from trials.peers.frames import prefixed
from trials.peers.messages import PATH, channel, cross_entropy, unary
from trials.peers.raw import SECONDS, Peer
from trials.peers.raw_caller import RawCaller

METHODS = {"unary": "Evaluate", "packs": "BatchEvaluate"}
LEASED_INTEGERS = 2**26
LEASED_HALVES = 2**26
STOPPED, QUEUED = 24, 20
JUNK_BYTES, OUTPUTS, DIMENSIONS = 20 * 2**20, 12_000_000, 5_000_000
GREEDY = 32
ALL_OUTPUTS = v1.Output.values()[1:]


def fuzzed_messages(place: Place, effort: Effort) -> int:
    """Inputs of the corpus, and mutations of them, as calls and streams."""
    rng, tries = effort.rng, 0
    with channel(place) as connected:
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = connected.stream_stream(PATH + "EvaluateStream")
        while effort.remaining:
            name = rng.choice(("unary", "packs", "streams"))
            target = TARGETS[name]
            data = target.mutate(rng.choice(corpus.load(name) or [target.seed(rng)]), rng)
            with suppress(grpc.RpcError):
                if name == "streams":
                    list(stream(iter(parts.cut(data)), timeout=20))
                else:
                    unary(connected, METHODS[name])(data, timeout=20)
            tries += 1
    return tries


def integers_in_a_region(place: Place, effort: Effort) -> int:
    """A few bytes that point at millions of integers, which are copied before they are checked."""
    size = effort.part(LEASED_INTEGERS)
    request = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT16, shape=[size, 2]),
        target=v1.Tensor(dtype=v1.Dtype.DTYPE_INT64, shape=[size]),
    )
    return _in_a_region(place, effort, request, 8 * size)


def all_outputs_of_a_region(place: Place, effort: Effort) -> int:
    """Half precision in a region, with every output in single precision asked for."""
    size = effort.part(LEASED_HALVES)
    request = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_NONE, cross_entropy=v1.CrossEntropy()),
        input=v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT16, shape=[size // 1000, 1000]),
        target=v1.Tensor(dtype=v1.Dtype.DTYPE_UINT8, shape=[size // 1000]),
        outputs=v1.OutputSpec(outputs=ALL_OUTPUTS, gradient=v1.GradientSpec(dtype=v1.Dtype.DTYPE_FLOAT64)),
    )
    return _in_a_region(place, effort, request, 2 * size)


def _in_a_region(place: Place, effort: Effort, request: v1.EvaluateRequest, size: int) -> int:
    tries = 0
    with channel(place) as connected:
        stub = loss_service_pb2_grpc.LossServiceStub(connected)
        lease: Any = stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=size))
        region_id = next(lease).region_id
        for tensor in (request.input, request.target):
            tensor.shared_memory.region_id = region_id
        while effort.remaining:
            with suppress(grpc.RpcError):
                stub.Evaluate(request, timeout=30)
            tries += 1
        lease.cancel()
    return tries


def stopped_readers(place: Place, effort: Effort) -> int:
    """Calls with answers many times as large as they are, whose callers stop reading."""
    outputs = v1.OutputSpec(outputs=ALL_OUTPUTS, gradient=v1.GradientSpec(dtype=v1.Dtype.DTYPE_FLOAT64))
    data = cross_entropy(effort.part(4_750), 1000, outputs=outputs).SerializeToString()
    with ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(place.target, patience=SECONDS)) for _ in range(STOPPED)]
        for caller in callers:
            caller.begin(1, "Evaluate")
            caller.send(1, prefixed(data), end=True, seconds=effort.remaining)
        time.sleep(effort.remaining)
        return len(callers)


def cancelled_in_the_queue(place: Place, effort: Effort) -> int:
    """Large calls that are cancelled before their turn."""
    data = cross_entropy(effort.part(14_250), 1000).SerializeToString()
    return _cancelled(place, effort, lambda: data, QUEUED)


def junk_fields(place: Place, effort: Effort) -> int:
    """Megabytes of fields that are in no contract, cancelled at once."""
    junk = cross_entropy(32, 10).SerializeToString() + b"\xf8\x7f\x01" * (effort.part(JUNK_BYTES) // 3)
    return _cancelled(place, effort, lambda: junk, 2)


def immense_repeats(place: Place, effort: Effort) -> int:
    """Millions of outputs, and of dimensions."""
    many = cross_entropy(32, 10)
    many.outputs.outputs.extend([v1.Output.OUTPUT_ENTROPY] * effort.part(OUTPUTS))
    long = cross_entropy(32, 10)
    long.input.shape.extend([1] * effort.part(DIMENSIONS))
    messages = [many.SerializeToString(), long.SerializeToString()]
    turns = count()
    return _cancelled(place, effort, lambda: messages[next(turns) % 2], 2, seconds=1.0)


def _cancelled(place: Place, effort: Effort, message: Callable[[], bytes], at_a_time: int, seconds: float = 0.1) -> int:
    tries = 0
    with channel(place) as connected:
        call = unary(connected)
        while effort.remaining:
            begun = [call.future(message(), timeout=30) for _ in range(at_a_time)]
            time.sleep(seconds)
            for future in begun:
                future.cancel()
            tries += len(begun)
    return tries


def greedy_callers(place: Place, effort: Effort) -> int:
    """Callers of large batches, each with a connection of its own."""
    data = cross_entropy(
        effort.part(4_000), 1000, outputs=v1.OutputSpec(gradient=v1.GradientSpec())
    ).SerializeToString()

    def calls() -> int:
        tries = 0
        with channel(place) as connected:
            while effort.remaining:
                with suppress(grpc.RpcError):
                    unary(connected)(data, timeout=30)
                tries += 1
        return tries

    with ThreadPoolExecutor(GREEDY) as threads:
        return sum(threads.map(lambda _: calls(), range(GREEDY)))


def reset_scrapes(place: Place, effort: Effort) -> int:
    """Scrapes of the metrics that are wrong, or reset before they are answered."""
    tries = 0
    while effort.remaining:
        with Peer((place.host, place.metrics_port)) as peer:
            peer.send(
                effort.rng.choice((b"GET /metrics HTTP/1.1\r\n\r\n", b"\x1b[31m\r\n\r\n", effort.rng.randbytes(100)))
            )
            peer.close(reset=True)
        tries += 1
    return tries


def leases_left(place: Place, effort: Effort) -> int:
    """Leases whose callers are gone without a word."""
    tries = 0
    while effort.remaining:
        with channel(place) as connected, suppress(grpc.RpcError):
            stub = loss_service_pb2_grpc.LossServiceStub(connected)
            calls: Iterator[Any] = (
                stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=4096)) for _ in range(20)
            )
            tries += sum(bool(next(call).region_id) for call in calls)
    return tries


CALLS = (
    fuzzed_messages,
    integers_in_a_region,
    all_outputs_of_a_region,
    stopped_readers,
    cancelled_in_the_queue,
    junk_fields,
    immense_repeats,
    greedy_callers,
    reset_scrapes,
    leases_left,
)
