"""Calls of every kind that are brought to a stage, and what a server holds for its callers."""

import asyncio
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import pytest

from losswire import v1
from losswire_server import Server
from losswire_server.rpc.receiving import intake
from losswire_server.rpc.receiving.waits import Waits
from tests.helpers import eventually
from tests.present import present
from tests.server.calls.gate import Gate
from tests.server.requests.stream_requests import GRADIENT, classes

LOSSES, WATCH = "/losswire.v1.LossService/", "/grpc.health.v1.Health/Watch"
ROWS = 64
WIDE = classes(rows=(8 * ROWS,), count=1024, outputs=GRADIENT)  # 2 MiB, and as much of a gradient
STREAM = [WIDE.header(), *WIDE.slabs(ROWS)]
LEASE = v1.LeaseSharedMemoryRequest(size_bytes=4096).SerializeToString()


def packed(request: v1.EvaluateRequest) -> bytes:
    return v1.BatchEvaluateRequest(requests=[request] * 2).SerializeToString()


class RawCall:
    """A call of any kind, whose messages are sent and read when the test says so."""

    def __init__(self, channel: grpc.Channel, path: str, timeout: float | None = None) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        begin: Any = channel.stream_stream(path)
        self.call: Any = begin(iter(self._messages.get, None), timeout=timeout)

    def send(self, *messages: bytes) -> "RawCall":
        for message in messages:
            self._messages.put(message)
        return self

    def end(self) -> "RawCall":
        self._messages.put(None)
        return self


class Held(NamedTuple):
    """What a server holds. All but the tasks and threads is zero while nobody calls."""

    inflight_bytes: float
    taken: int
    waiting: int
    leased_bytes: int
    tasks: int
    threads: int


def held(server: Server) -> Held:
    accounts = server._waits.connections.accounts._accounts.values()
    counts = [(x.requests, x.streams, x.leases, x.leased_bytes, x.bytes) for x in list(accounts)]
    waiting = _waiting(server._waits)
    return Held(
        present(server.registry.get_sample_value("losswire_inflight_bytes")),
        sum(map(sum, counts)),
        sum(map(len, waiting)),
        server._backend._regions.leased_bytes,
        asyncio.run_coroutine_threadsafe(_tasks(), server._loop).result(20),
        sum(thread.name.startswith(("losswire", "ce-engine", "ThreadPool")) for thread in threading.enumerate()),
    )


def _waiting(waits: Waits) -> tuple[Collection[object], ...]:
    taken_in = waits._intake._receiving, waits._intake._waiting, waits._intake._certain
    return waits._receiving, waits._sending, waits._arrivals._watched, waits.turns._waiting, *taken_in


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def check_as_it_was(server: Server, before: Held) -> None:
    """Waits until a server holds no more than before. It may have ended what it kept for earlier calls."""
    try:
        eventually(lambda: all(now <= then for now, then in zip(held(server), before, strict=True)))
    except AssertionError:
        raise AssertionError(f"expected at most {before}, got {held(server)}") from None


@contextmanager
def busy_readers(server: Server) -> Iterator[None]:
    """Keeps all reader threads busy."""
    over, readers = threading.Event(), server._backend._readers
    for _ in range(readers._max_workers):
        readers.submit(over.wait, 30)
    eventually(lambda: not readers._work_queue.qsize())
    try:
        yield
    finally:
        over.set()


@contextmanager
def taken_turn(server: Server) -> Iterator[None]:
    """Has the turn that large messages wait for."""
    taking = server._backend.turns.take(30)
    turn = asyncio.run_coroutine_threadsafe(taking, server._loop).result(20)
    try:
        yield
    finally:
        server._loop.call_soon_threadsafe(turn.end)


class Place(NamedTuple):
    """Where calls are made.

    Attributes:
        server: Has one worker, which the gate holds.
        gate: Is closed.
        begin: Begins the call of a path that ends early.
        beside: Begins a call of another caller's.
    """

    server: Server
    gate: Gate
    begin: Callable[[str], RawCall]
    beside: Callable[[str], RawCall]


@contextmanager
def arriving(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    """The call has sent these messages, and waits for another one."""
    call = place.begin(path).send(*messages)
    eventually(lambda: len(place.server._waits._receiving) == 1)
    yield call


@contextmanager
def waiting_for_a_turn(place: Place, path: str, message: bytes) -> Iterator[RawCall]:
    place.gate.opened.set()
    list(place.begin(path).send(message).end().call)  # so that another large message is expected
    place.gate.opened.clear()
    place.gate.evaluated = 0
    with taken_turn(place.server):
        call = place.begin(path).send(message).end()
        eventually(lambda: len(place.server._backend.turns._waiting) == 1)
        yield call


@contextmanager
def waiting_to_be_taken_in(place: Place, path: str, message: bytes) -> Iterator[RawCall]:
    """Memory is short: gRPC has the beginning of a large message, and takes no more of it until its turn."""
    with short_memory(place.server, known=True):
        call = place.begin(path).send(message).end()
        eventually(lambda: len(place.server._waits._intake._waiting) == 1)
        yield call


@contextmanager
def waiting_to_be_known(place: Place, path: str, message: bytes) -> Iterator[RawCall]:
    """Memory is short, and nobody knows yet what has come over the call's connection."""
    with short_memory(place.server, known=False):
        call = place.begin(path).send(message).end()
        eventually(lambda: any(connection.held_back for connection in place.server._waits.connections))
        yield call


@contextmanager
def short_memory(server: Server, *, known: bool) -> Iterator[None]:
    """Has no room for one more message, however large messages are and whenever they come."""
    waiting = server._waits._intake
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waiting, "_room", lambda _: 0)
        patched.setattr(waiting, "_ahead", lambda _: intake.LARGE_BYTES if known else intake.UNKNOWN)
        patched.setattr(intake, "KNOWN_SECONDS", 30)
        yield


@contextmanager
def before_a_reader(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    with busy_readers(place.server):
        call = place.begin(path).send(*messages)
        waiting = place.server._backend._readers._work_queue
        eventually(lambda: waiting.qsize() == 1)
        yield call


@contextmanager
def before_a_worker(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    first = place.beside(LOSSES + "Evaluate").send(WIDE.request.SerializeToString()).end()
    assert place.gate.arrived.acquire(timeout=20)
    call = place.begin(path).send(*messages).end()
    queued = place.server.registry.get_sample_value
    eventually(lambda: (queued("losswire_queued_rows") or 0) > 0)
    yield call
    place.gate.opened.set()
    assert len(list(first.call)) == 1
    assert place.gate.evaluated == 1


@contextmanager
def at_a_worker(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    call = place.begin(path).send(*messages).end()
    assert place.gate.arrived.acquire(timeout=20)
    yield call
    place.gate.opened.set()


@contextmanager
def answered_and_not_read(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    place.gate.opened.set()
    call = place.begin(path).send(*messages)
    eventually(lambda: len(place.server._waits._sending) == 1)
    yield call


@contextmanager
def answered_and_open(place: Place, path: str, *messages: bytes) -> Iterator[RawCall]:
    """The call has got its first answer, and may get more."""
    place.gate.opened.set()
    call = place.begin(path).send(*messages)
    assert next(call.call)
    yield call


LARGE_ANSWER = classes(rows=(4096,), count=1024, outputs=GRADIENT)  # more than gRPC takes in for a caller
EVALUATE, PACK = WIDE.request.SerializeToString(), packed(WIDE.request)

Stage = tuple[Any, str, tuple[bytes, ...]]
STAGES: dict[str, Stage] = {
    **{f"{name} arrives": (arriving, LOSSES + name, ()) for name in ("Evaluate", "BatchEvaluate", "EvaluateStream")},
    "GetCapabilities arrives": (arriving, LOSSES + "GetCapabilities", ()),
    "LeaseSharedMemory arrives": (arriving, LOSSES + "LeaseSharedMemory", ()),
    "Watch arrives": (arriving, WATCH, ()),
    "Evaluate waits for a turn": (waiting_for_a_turn, LOSSES + "Evaluate", (EVALUATE,)),
    "BatchEvaluate waits for a turn": (waiting_for_a_turn, LOSSES + "BatchEvaluate", (PACK,)),
    "Evaluate waits to be taken in": (waiting_to_be_taken_in, LOSSES + "Evaluate", (EVALUATE,)),
    "BatchEvaluate waits to be taken in": (waiting_to_be_taken_in, LOSSES + "BatchEvaluate", (PACK,)),
    "Evaluate waits to be known": (waiting_to_be_known, LOSSES + "Evaluate", (EVALUATE,)),
    "Evaluate waits for a reader": (before_a_reader, LOSSES + "Evaluate", (EVALUATE,)),
    "BatchEvaluate waits for a reader": (before_a_reader, LOSSES + "BatchEvaluate", (PACK,)),
    "Evaluate waits for a worker": (before_a_worker, LOSSES + "Evaluate", (EVALUATE,)),
    "BatchEvaluate waits for a worker": (before_a_worker, LOSSES + "BatchEvaluate", (PACK,)),
    "EvaluateStream waits for a worker": (before_a_worker, LOSSES + "EvaluateStream", tuple(STREAM)),
    "Evaluate is evaluated": (at_a_worker, LOSSES + "Evaluate", (EVALUATE,)),
    "BatchEvaluate is evaluated": (at_a_worker, LOSSES + "BatchEvaluate", (PACK,)),
    "EvaluateStream is evaluated": (at_a_worker, LOSSES + "EvaluateStream", tuple(STREAM)),
    "EvaluateStream after its header": (arriving, LOSSES + "EvaluateStream", (STREAM[0],)),
    "EvaluateStream between slabs": (answered_and_open, LOSSES + "EvaluateStream", tuple(STREAM[:2])),
    "EvaluateStream is not read": (
        answered_and_not_read,
        LOSSES + "EvaluateStream",
        (LARGE_ANSWER.header(), *LARGE_ANSWER.slabs(256)),
    ),
    "LeaseSharedMemory is open": (answered_and_open, LOSSES + "LeaseSharedMemory", (LEASE,)),
    "Watch is open": (answered_and_open, WATCH, (b"",)),
}
