"""The desk, with work that a test controls: where the work is done, the memory that it holds, and its metrics."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from losswire import v1
from losswire.errors import FieldError
from losswire_server.calls.admission import Admission
from losswire_server.calls.desk import AT_ONCE_SECONDS, READ_AT_ONCE_BYTES, UNKNOWN_SECONDS, Desk, TakesLongError
from losswire_server.calls.packs import Packs
from losswire_server.calls.unary import Unary
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.memory.regions import OFF
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.losses import LossMetrics
from losswire_server.requests.ends import End, Evaluated
from tests.helpers import eventually
from tests.server.packs import packed, small

INVALID = grpc.StatusCode.INVALID_ARGUMENT
REQUEST = v1.EvaluateRequest(spec=v1.LossSpec(cross_entropy=v1.CrossEntropy()))
SHORT, LONG = AT_ONCE_SECONDS / 2, AT_ONCE_SECONDS * 2
BESIDE = "engine"


def evaluated(requests: int = 1) -> Evaluated:
    return Evaluated(REQUEST, [v1.EvaluateResponse(loss_sum=1, weight_sum=1, row_count=1)] * requests)


class Work:
    """Work that records where it is read and evaluated.

    Args:
        seconds: How long it says that it takes.
        ends: Its outcomes. If one is a function, its return value is the outcome. An error is raised.
    """

    def __init__(self, seconds: float, *ends: Any) -> None:
        self.seconds = seconds
        self.where: list[str] = []
        self._ends = ends

    def read(self, data: bytes) -> "Work":
        self._note(f"read {len(data)}")
        return self

    def evaluate(self) -> Iterator[End]:
        self._note("evaluate")
        for end in self._ends:
            came = end() if callable(end) else end
            if isinstance(came, Exception):
                raise came
            yield came

    def at_once(self) -> Iterator[End]:
        yield from self.evaluate()

    def answer(self) -> bytes:
        return b"answer"

    def _note(self, what: str) -> None:
        here = not threading.current_thread().name.startswith(BESIDE)
        self.where.append(f"{what} {'here' if here else 'beside'}")


class WorkThatTakesLong(Work):
    def at_once(self) -> Iterator[End]:
        self._note("begin")
        yield evaluated()
        raise TakesLongError


class Server:
    """A desk and everything that it needs, for at most 100 bytes in flight by default."""

    def __init__(self, max_bytes: int = 100) -> None:
        self.admission, self.registry = Admission(max_bytes), CollectorRegistry()
        self.executor = ThreadPoolExecutor(1, BESIDE)
        losses, packs = LossMetrics(self.registry, max_series=1), PackMetrics(self.registry)
        self.desk = Desk(self.admission, self.executor, losses, packs)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"losswire_{name}", labels or {"loss": "cross_entropy"}) or 0

    def ended(self, code: str) -> float:
        return self.counted("batch_requests_total", grpc_code=code)

    @property
    def seconds(self) -> float:
        return self.counted("evaluation_seconds_sum")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.executor.shutdown()


def answer(server: Server, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer(data, work.read))


def answer_pack(server: Server, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer_pack(data, work.read))


def test_short_work_is_done_where_it_arrives(server):
    work = Work(SHORT, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "evaluate here"]


def test_long_work_is_done_beside(server):
    work = Work(LONG, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "read 4 beside", "evaluate beside"]


@pytest.mark.parametrize(("size", "place"), [(READ_AT_ONCE_BYTES, "here"), (READ_AT_ONCE_BYTES + 1, "beside")])
def test_large_message_is_read_beside(size, place):
    server, work = Server(2 * READ_AT_ONCE_BYTES), Work(SHORT, evaluated())
    assert answer(server, work, bytes(size)) == b"answer"
    assert work.where == [f"read {size} {place}", f"evaluate {place}"]
    server.executor.shutdown()


def test_work_done_again_counts_once(server):
    work = WorkThatTakesLong(SHORT, evaluated(), INVALID)
    assert answer_pack(server, work) == b"answer"
    assert work.where == ["read 4 here", "begin here", "read 4 beside", "evaluate beside"]
    assert (server.counted("rows_total"), server.ended("OK"), server.ended("InvalidArgument")) == (1, 1, 1)


def test_what_does_not_fit_is_refused_unread(server):
    work = Work(SHORT, evaluated())
    server.admission.reserve(97)
    with pytest.raises(OverloadedError, match="97 of at most 100 bytes are in flight, and this request has 4"):
        answer(server, Work(LONG))
    with pytest.raises(TooLargeError, match="this call needs 101 bytes, and at most 100 may be in flight"):
        answer(server, Work(LONG), bytes(101))
    assert answer(server, work) == b"answer"  # the work is over before anybody could ask for its bytes
    assert server.admission.inflight_bytes == 97


def test_bytes_are_in_flight_until_the_answer(server):
    held = []

    def look() -> Evaluated:
        held.append(server.admission.inflight_bytes)
        return evaluated()

    answer(server, Work(LONG, look))
    assert held == [4]
    eventually(lambda: server.admission.inflight_bytes == 0)


async def leave(call: Awaitable[bytes], begun: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(eventually, begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_leaving_amid_work_holds_bytes(server):
    go_on, begun = threading.Event(), threading.Event()

    def wait() -> Evaluated:
        begun.set()
        assert go_on.wait(20)
        return evaluated()

    asyncio.run(leave(server.desk.answer_pack(b"data", Work(LONG, wait).read), begun.is_set))
    assert server.admission.inflight_bytes == 4
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    assert (server.counted("rows_total"), server.ended("OK")) == (0, 0)


def test_leaving_before_the_turn_costs_nothing(server):
    go_on, work = threading.Event(), Work(LONG, evaluated())
    server.executor.submit(go_on.wait, 20)
    asyncio.run(leave(server.desk.answer(b"data", work.read), lambda: server.admission.inflight_bytes == 4))
    assert server.admission.inflight_bytes == 0
    go_on.set()
    server.executor.shutdown()
    assert work.where == ["read 4 here"]


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_requests_are_counted_as_they_end(server, seconds):
    answer_pack(server, Work(seconds, evaluated(3), INVALID, evaluated(), INVALID))
    assert (server.ended("OK"), server.ended("InvalidArgument")) == (4, 2)
    assert server.counted("evaluation_seconds_count") == server.counted("rows_total") == 4


def test_single_request_is_no_pack(server):
    answer(server, Work(SHORT, evaluated()))
    assert (server.counted("rows_total"), server.counted("evaluation_seconds_count")) == (1, 1)
    assert server.ended("OK") == 0


@pytest.mark.parametrize("error", [FieldError("input", "is wrong"), RuntimeError()])
@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_error_counts_and_holds_nothing(server, seconds, error):
    with pytest.raises(type(error)) as raised:
        answer(server, Work(seconds, evaluated(), error))
    assert raised.value is error
    eventually(lambda: server.admission.inflight_bytes == 0)
    assert (server.counted("rows_total"), server.seconds) == (0, 0)
    assert all(server.ended(code) == 0 for code in ("OK", "InvalidArgument", "Internal"))


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_seconds_are_shared_within_a_group(server, seconds):
    def after(pause: float, end: End) -> Callable[[], End]:
        def late() -> End:
            time.sleep(pause)
            return end

        return late

    class SlowlyRead(Work):
        def read(self, data: bytes) -> Work:
            time.sleep(0.04)
            return super().read(data)

    start = time.perf_counter()
    answer_pack(server, SlowlyRead(seconds, after(0.1, evaluated(2)), after(0.3, INVALID), evaluated()))
    took = time.perf_counter() - start
    assert 0.1 + 0.04 * 3 / 4 <= server.seconds < took - 0.3
    buckets = {le: server.counted("evaluation_seconds_bucket", loss="cross_entropy", le=le) for le in ("0.05", "0.1")}
    assert buckets["0.05"] == 1  # the third, which took nothing but a share; the first two took the same


def test_waiting_is_in_no_seconds(server):
    server.executor.submit(time.sleep, 0.3)
    answer(server, Work(LONG, evaluated()))
    assert server.seconds < 0.3


def test_evaluation_adds_up_its_work(server):
    async def evaluate() -> list[str]:
        evaluation = server.desk.evaluation()
        names = [await evaluation.do(name, seconds) for seconds in (SHORT, LONG, UNKNOWN_SECONDS, SHORT)]
        evaluation.count(REQUEST, evaluated().responses[0])
        return names

    def name() -> str:
        time.sleep(0.01)
        return threading.current_thread().name.partition("_")[0]

    assert asyncio.run(evaluate()) == ["MainThread", BESIDE, BESIDE, "MainThread"]
    assert server.seconds >= 0.04
    assert server.counted("rows_total") == 1


def test_closed_evaluation_holds_until_done(server):
    async def evaluate() -> None:
        evaluation = server.desk.evaluation()
        evaluation.held.resize(50)
        piece = asyncio.ensure_future(evaluation.do(wait, LONG))
        await asyncio.to_thread(begun.wait, 20)
        evaluation.held.resize(30)
        piece.cancel()
        evaluation.close()

    def wait() -> None:
        begun.set()
        assert go_on.wait(20)

    begun, go_on = threading.Event(), threading.Event()
    asyncio.run(evaluate())
    assert server.admission.inflight_bytes == 30
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)


class Reader:
    """A reader of messages for one kind of call, without a desk."""

    async def answer(self, data: bytes, read: Any) -> Any:
        return read(data).seconds

    answer_pack = answer


def unread(*shape: int) -> v1.EvaluateRequest:
    return v1.EvaluateRequest(input=v1.Tensor(shape=shape, shared_memory=v1.SharedMemorySpan()))


def is_short(message: v1.EvaluateRequest | bytes) -> bool:
    reader: Any = Reader()
    call: Any = Packs(reader, OFF, 256) if isinstance(message, bytes) else Unary(reader, OFF)
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bool(asyncio.run(call(data)) < AT_ONCE_SECONDS)


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (small(), True),
        (small(rows=800), True),
        (small(rows=10_000), False),
        (unread(10**6), False),
        (unread(10**6, 0), False),
        (unread(*[2**62] * 20), False),
        (v1.EvaluateRequest(), True),
        (packed([small()] * 32), True),
        (packed([small(rows=rows) for rows in (1, 2, 3)]), True),
        (packed([small(rows=rows) for rows in range(1, 33)]), False),
        (packed([small(rows=1)] * 200), False),
        (packed([small(rows=1000)] * 5), False),
        (packed([small(), unread(10**6)]), False),
        (packed([small(), b"no request"]), False),
        (packed([v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))]), False),
        (packed([small(), *[v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))] * 2]), False),
    ],
)
def test_little_work_is_short(message, short):
    assert is_short(message) is short
