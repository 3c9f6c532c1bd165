"""The desk, with work that a test controls: where the work is done, the memory that it holds, and its metrics."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
import torch
from prometheus_client import CollectorRegistry

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire_server.calls.admission import Admission
from losswire_server.calls.desk import AT_ONCE_SECONDS, READ_AT_ONCE_BYTES, Desk, TakesLongError
from losswire_server.calls.evaluation import ANYBODY, Caller, Workplace
from losswire_server.calls.packs import Packs
from losswire_server.calls.unary import Unary
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.memory.regions import OFF
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.losses import LossMetrics
from losswire_server.requests.ends import End, Evaluated
from losswire_server.requests.planned import Planned
from tests.helpers import eventually
from tests.server.packs import packed, small

INVALID = grpc.StatusCode.INVALID_ARGUMENT
SHORT, LONG = AT_ONCE_SECONDS / 2, AT_ONCE_SECONDS * 2
PLACES = {"reader": "in a reader", "ce-engine": "in the engine"}  # by the names of threads


def evaluated(requests: int = 1) -> Evaluated:
    response = v1.EvaluateResponse(loss_sum=1, weight_sum=1, row_count=1)
    return Evaluated("cross_entropy", "", [response] * requests)


def slab() -> ce_engine.Slab:
    return ce_engine.slabs.cross_entropy(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))


class Work:
    """Work that records where it is read, planned and evaluated.

    Args:
        seconds: How long it says that it takes.
        ends: Its outcomes. If one is a function, its return value is the outcome. An error is raised.
        planning_seconds: How long it says that planning takes.
        writing_seconds: How long it says that writing the answer takes.
    """

    def __init__(
        self, seconds: float, *ends: Any, planning_seconds: float = math.inf, writing_seconds: float = 0.0
    ) -> None:
        self.seconds, self.planning_seconds, self.writing_seconds = seconds, planning_seconds, writing_seconds
        self.where: list[str] = []
        self._ends = ends

    def read(self, data: bytes) -> "Work":
        self._note(f"read {len(data)}")
        return self

    def at_once(self) -> Iterator[End]:
        for end in self._ends:
            yield self._end(end, None)

    def plan(self) -> Iterator[Planned]:
        self._note("plan")
        for end in self._ends:
            yield Planned(slab(), partial(self._end, end), self._fail)

    def answer(self) -> bytes:
        self._note("answer")
        return b"answer"

    def _end(self, end: Any, _result: Any) -> End:
        self._note("end")
        came = end() if callable(end) else end
        if isinstance(came, Exception):
            raise came
        ended: End = came
        return ended

    def _fail(self, error: Exception) -> Iterator[Planned]:
        raise error

    def _note(self, what: str) -> None:
        name = threading.current_thread().name
        self.where.append(
            f"{what} {next((place for start, place in PLACES.items() if name.startswith(start)), 'here')}"
        )


class WorkThatTakesLong(Work):
    def at_once(self) -> Iterator[End]:
        self._note("begin")
        yield evaluated()
        raise TakesLongError


class Server:
    """A desk and everything that it needs, for at most 100 bytes in flight by default."""

    def __init__(self, max_bytes: int = 100, **settings: Any) -> None:
        self.admission, self.registry = Admission(max_bytes), CollectorRegistry()
        self.readers, self.engine = ThreadPoolExecutor(1, "reader"), ce_engine.Engine(**settings)
        losses, packs = LossMetrics(self.registry, max_series=1), PackMetrics(self.registry)
        self.desk = Desk(Workplace(self.admission, self.readers, self.engine), losses, packs)

    def close(self) -> None:
        self.readers.shutdown()
        self.engine.close()

    def hold_up(self, go_on: threading.Event) -> None:
        """Has the engine wait."""
        begun = threading.Event()

        def wait(*_: object) -> None:
            begun.set()
            assert go_on.wait(20)

        self.engine.submit(slab(), caller="blocker", then=wait)
        assert begun.wait(20)

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
    made.close()


def answer(server: Server, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer(data, work.read, ANYBODY))


def answer_pack(server: Server, work: Work, data: bytes = b"data") -> bytes:
    return asyncio.run(server.desk.answer_pack(data, work.read, ANYBODY))


def test_short_work_is_done_where_it_arrives(server):
    work = Work(SHORT, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "end here", "answer here"]


def test_short_work_does_not_wait_for_long_work(server):
    go_on = threading.Event()
    server.hold_up(go_on)
    assert answer(server, Work(SHORT, evaluated())) == b"answer"
    go_on.set()


IN_THREADS = ["read 4 in a reader", "plan in a reader", "end in the engine", "answer here"]


def test_long_work_is_done_in_threads(server):
    work = Work(LONG, evaluated())
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", *IN_THREADS]


def test_long_work_may_be_planned_at_once(server):
    work = Work(LONG, evaluated(), planning_seconds=SHORT)
    assert answer(server, work) == b"answer"
    assert work.where == ["read 4 here", "plan here", "end in the engine", "answer here"]


def test_long_answer_is_written_by_a_reader(server):
    work = Work(LONG, evaluated(), writing_seconds=LONG)
    assert answer(server, work) == b"answer"
    assert work.where[-1] == "answer in a reader"


@pytest.mark.parametrize(
    ("size", "where"), [(READ_AT_ONCE_BYTES, "end here"), (READ_AT_ONCE_BYTES + 1, "end in the engine")]
)
def test_large_message_is_read_by_a_reader(size, where):
    server, work = Server(2 * READ_AT_ONCE_BYTES), Work(SHORT, evaluated())
    assert answer(server, work, bytes(size)) == b"answer"
    assert where in work.where
    server.close()


def test_on_a_gpu_all_work_is_queued(server, monkeypatch):
    monkeypatch.setattr(server.engine, "device", torch.device("cuda"))
    desk = Desk(
        Workplace(server.admission, server.readers, server.engine),
        LossMetrics(CollectorRegistry(), 1),
        PackMetrics(CollectorRegistry()),
    )
    work = Work(SHORT, evaluated(), planning_seconds=SHORT)
    assert asyncio.run(desk.answer(b"data", work.read, ANYBODY)) == b"answer"
    assert work.where == ["read 4 here", "plan here", "end in the engine", "answer here"]


def test_work_done_again_counts_once(server):
    work = WorkThatTakesLong(SHORT, evaluated(), INVALID)
    assert answer_pack(server, work) == b"answer"
    assert work.where[:4] == ["read 4 here", "begin here", *IN_THREADS[:2]]
    assert (server.counted("rows_total"), server.ended("OK"), server.ended("InvalidArgument")) == (1, 1, 1)


def test_failed_evaluation_is_done_in_another_way(server):
    class Failing(Work):
        def _fail(self, error: Exception) -> Iterator[Any]:
            assert isinstance(error, RuntimeError)
            yield INVALID
            yield Planned(slab(), lambda _: evaluated(2), self._fail)

    assert answer_pack(server, Failing(LONG, RuntimeError(), evaluated())) == b"answer"
    assert (server.ended("OK"), server.ended("InvalidArgument")) == (3, 1)


def test_late_work_ends_its_call(server):
    go_on = threading.Event()
    server.hold_up(go_on)
    late = Caller("late", time.monotonic() - 1)
    work = Work(LONG, evaluated())
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(ce_engine.DeadlineExceededError):
        asyncio.run(server.desk.answer(b"data", work.read, late))
    assert "end in the engine" not in work.where
    eventually(lambda: server.admission.inflight_bytes == 0)


def test_full_queue_refuses_the_call():
    server, go_on = Server(max_queue_rows=2), threading.Event()
    server.hold_up(go_on)
    server.engine.submit(slab(), caller="another")
    with pytest.raises(OverloadedError, match="rows wait"):
        answer(server, Work(LONG, evaluated(), evaluated()))
    assert server.engine.waiting_rows == 1  # its first slab has left
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    server.close()


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

    asyncio.run(leave(server.desk.answer_pack(b"data", Work(LONG, wait).read, ANYBODY), begun.is_set))
    assert server.admission.inflight_bytes == 4
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    assert (server.counted("rows_total"), server.ended("OK")) == (0, 0)


def test_leaving_the_queue_costs_nothing(server):
    go_on, work = threading.Event(), Work(LONG, evaluated())
    server.hold_up(go_on)
    asyncio.run(leave(server.desk.answer(b"data", work.read, ANYBODY), lambda: server.engine.waiting_rows == 1))
    assert (server.admission.inflight_bytes, server.engine.waiting_rows) == (0, 0)
    go_on.set()
    server.close()
    assert work.where == ["read 4 here", *IN_THREADS[:2]]


def test_leaving_before_the_reading_costs_nothing(server):
    go_on, work = threading.Event(), Work(LONG, evaluated())
    server.readers.submit(go_on.wait, 20)
    call = server.desk.answer(b"data", work.read, ANYBODY)
    asyncio.run(leave(call, lambda: server.admission.inflight_bytes == 4))
    assert server.admission.inflight_bytes == 0
    go_on.set()
    server.close()
    assert work.where == ["read 4 here"]


def test_leaving_amid_the_reading_queues_nothing(server):
    reading, go_on = threading.Event(), threading.Event()

    class SlowlyRead(Work):
        def plan(self) -> Iterator[Planned]:
            reading.set()
            assert go_on.wait(20)
            return super().plan()

    work = SlowlyRead(LONG, evaluated())
    asyncio.run(leave(server.desk.answer(b"data", work.read, ANYBODY), reading.is_set))
    assert server.admission.inflight_bytes == 4
    go_on.set()
    eventually(lambda: server.admission.inflight_bytes == 0)
    server.close()
    assert "end in the engine" not in work.where


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
    go_on = threading.Event()
    server.hold_up(go_on)
    threading.Timer(0.3, go_on.set).start()
    answer(server, Work(LONG, evaluated()))
    assert server.seconds < 0.3


class Reader:
    """A reader of messages for one kind of call, without a desk."""

    async def answer(self, data: bytes, read: Any, caller: Caller) -> Any:
        assert caller == ANYBODY
        return read(data).seconds

    answer_pack = answer


def unread(*shape: int) -> v1.EvaluateRequest:
    return v1.EvaluateRequest(input=v1.Tensor(shape=shape, shared_memory=v1.SharedMemorySpan()))


def is_short(message: v1.EvaluateRequest | bytes) -> bool:
    reader: Any = Reader()
    call: Any = Packs(reader, OFF, 256) if isinstance(message, bytes) else Unary(reader, OFF)
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bool(asyncio.run(call(data, ANYBODY)) < AT_ONCE_SECONDS)


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
