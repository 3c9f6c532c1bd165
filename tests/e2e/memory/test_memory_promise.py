"""The server keeps within its budget whatever callers ask for, and serves a small caller meanwhile."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import Client
from losswire_server import RunningServer
from tests.e2e.memory.requests import ALL_OUTPUTS, CLASSES, MIB, NONE, of_size, opened, outputs, request
from tests.e2e.memory.watched import promising
from tests.server.memory.shared_memory import leased

pytestmark = pytest.mark.slow

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
ALONE = ("grpc.use_local_subchannel_pool", 1)  # a connection of its own


@contextmanager
def stub(server: RunningServer) -> Iterator[LossServiceStub]:
    with grpc.insecure_channel(server.target, [*ANY_SIZE, ALONE]) as channel:
        yield LossServiceStub(channel)


def ended(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code().name
    return "OK"


def together(server: RunningServer, count: int, message: v1.EvaluateRequest, **options: Any) -> Counter[str]:
    """How calls of so many connections end that are made at the same time."""

    def one(_: int) -> str:
        with stub(server) as own:
            return ended(lambda: own.Evaluate(message, timeout=60, **options))

    with ThreadPoolExecutor(count) as threads:
        return Counter(threads.map(one, range(count)))


@pytest.mark.parametrize(
    ("count", "mib"),
    [(24, 19), (8, 60), (64, 2)],
)
def test_many_large_calls_at_a_time(count, mib):
    with promising() as server:
        for _ in range(2):
            ends = together(server, count, of_size(mib, outputs=outputs(grad="float32")))
            assert set(ends) <= {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}


def test_calls_that_are_cancelled_while_they_wait():
    with promising() as server, stub(server) as caller:
        large = of_size(57)
        for _ in range(20):
            call = caller.Evaluate.future(large)
            time.sleep(0.15)
            call.cancel()
        assert eventually_served(caller, large)


def test_connection_whose_calls_were_cancelled_is_served():
    """What came of calls that were cancelled does not count against those that follow on the same connection."""
    with promising() as server, stub(server) as caller:
        large = of_size(57)
        for seconds in (0.01, 0.03, 0.05, 0.08, 0.12):
            call = caller.Evaluate.future(large)
            time.sleep(seconds)
            call.cancel()
        ends = [ended(lambda: caller.Evaluate(large, timeout=30)) for _ in range(6)]
        assert ends[1:] == ["OK"] * 5  # the first one may come before the server knows that the last one has left


def eventually_served(caller: LossServiceStub, message: v1.EvaluateRequest) -> bool:
    """Whether a call is served within some attempts, as those that are told to try again make."""
    for _ in range(50):
        if ended(lambda: caller.Evaluate(message, timeout=30)) == "OK":
            return True
        time.sleep(0.1)
    return False


def test_integers_in_a_region():
    rows = 2**26
    with promising() as server, stub(server) as caller, leased(caller, 600 * MIB) as region:
        message = request(0)
        message.target.CopyFrom(region.tensor("int64", [rows]))
        message.input.CopyFrom(region.tensor("float16", [rows, 1]))
        assert ended(lambda: caller.Evaluate(message)) == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("mib", [16, 125])
def test_floats_in_a_region_with_all_outputs(mib):
    rows = mib * MIB // 2000
    with promising() as server, stub(server) as caller, leased(caller, 130 * MIB) as region:
        message = request(rows, outputs=outputs(*ALL_OUTPUTS, grad="float16"))
        message.input.CopyFrom(region.tensor("float16", [rows, 1000]))
        assert ended(lambda: caller.Evaluate(message)) == ("OK" if mib < 100 else "RESOURCE_EXHAUSTED")


def test_many_leases():
    with promising(shared_memory_bytes=2**30) as server, ExitStack() as leases:
        for _ in range(4):
            caller = leases.enter_context(stub(server))
            for _ in range(64):
                leases.enter_context(leased(caller, 2 * MIB))


@pytest.mark.parametrize("count", [4, 16])
def test_streams_with_all_outputs(count):
    logits, target = np.zeros((1000, 4000), np.float16), np.zeros(1000, np.int64)

    def one(_: int) -> int:
        with Client(server.target, transport="stream", timeout=100) as client:
            return client.cross_entropy(logits, target, grad=True, outputs=ALL_OUTPUTS).row_count

    with promising() as server, ThreadPoolExecutor(count) as threads:
        assert list(threads.map(one, range(count))) == [1000] * count


def test_stream_that_announces_much_and_is_silent():
    rows = (512 * MIB - 4096) // 8
    header = opened(rows, 2)
    header.spec.cross_entropy.weighting = v1.ClassWeighting.CLASS_WEIGHTING_BALANCED
    over = threading.Event()

    def messages() -> Iterator[v1.EvaluateStreamRequest]:
        yield v1.EvaluateStreamRequest(header=header)
        over.wait()

    with promising(max_inflight_bytes=2**30) as server, stub(server) as silent, stub(server) as caller:
        call = cast(Any, silent.EvaluateStream(messages()))
        time.sleep(0.5)
        assert not call.done()
        assert [ended(lambda: caller.Evaluate(of_size(16))) for _ in range(5)] == ["OK"] * 5
        over.set()
        call.cancel()


def test_streams_whose_results_nobody_reads():
    rows, slab = 2**20, bytes(MIB)
    header = opened(rows, 1024, outputs=outputs("probabilities", grad="float32"))
    over = threading.Event()

    def messages() -> Iterator[v1.EvaluateStreamRequest]:
        yield v1.EvaluateStreamRequest(header=header)
        for number in range(rows // 256):
            if over.is_set():
                return
            tensors = {"input": slab, "target": bytes(8 * 256)}
            yield v1.EvaluateStreamRequest(slab=v1.Slab(first_row=256 * number, row_count=256, **tensors))

    with promising() as server, ExitStack() as callers:
        stubs = [callers.enter_context(stub(server)) for _ in range(24)]
        calls = [cast(Any, own.EvaluateStream(messages())) for own in stubs]
        time.sleep(4)
        assert {call.code() for call in calls if call.done()} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert not all(call.done() for call in calls)
        over.set()
        for call in calls:
            call.cancel()


@pytest.mark.xfail(reason="up to 344 MiB of 320 in two of eight runs: not always kept yet", strict=False)
def test_streams_of_large_slabs():
    rows = 15_000  # of 1000 classes, in a message of 60 MB
    header = opened(2 * rows)
    logits, target = bytes(4 * rows * CLASSES), bytes(8 * rows)

    def messages() -> Iterator[v1.EvaluateStreamRequest]:
        yield v1.EvaluateStreamRequest(header=header)
        for first_row in (0, rows):
            slab = v1.Slab(first_row=first_row, row_count=rows, input=logits, target=target)
            yield v1.EvaluateStreamRequest(slab=slab)

    with promising() as server:

        def one(_: int) -> str:
            with stub(server) as caller:
                return ended(lambda: list(caller.EvaluateStream(messages(), timeout=60)))

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(one, range(8))) <= {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}


def test_packs_with_large_answers():
    wanted = request(300, outputs=outputs(*ALL_OUTPUTS, grad="float64"))
    wanted.spec.reduction = NONE
    pack = v1.BatchEvaluateRequest(requests=[wanted] * 16)  # 19 MB, whose answer has 120 MB
    with promising() as server:

        def one(_: int) -> str:
            with stub(server) as caller:
                return ended(lambda: caller.BatchEvaluate(pack, timeout=60))

        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(one, range(6))) <= {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages(compression):
    """They are refused before they are expanded."""
    with promising() as server:
        ends = together(server, 12, of_size(60), compression=compression)
        assert ends == {"UNIMPLEMENTED": 12}
